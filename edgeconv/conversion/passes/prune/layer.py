"""A convolution or linear layer as the matrix that maps its patches to its outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.nn import functional

from edgeconv.conversion.passes.prune.graph import (
    arguments,
    operator_name,
    shape_of,
    trace_weight,
    weight_keys,
)

_CONVOLUTIONS = ("aten.conv1d", "aten.conv2d", "aten.conv3d", "aten.convolution")
_LINEAR = {
    "aten.linear": ("input", "weight", "bias"),
    "aten.addmm": ("mat1", "mat2", "self"),
    "aten.matmul": ("self", "other", None),
    "aten.mm": ("self", "mat2", None),
}


@dataclass(frozen=True)
class Layer:
    """Where a layer's weights are and how they lie.

    Attributes:
        source: The node that gives its input.
        weight: Key of its weight.
        order: Axes of the weight as [made, taken, kernel…].
        bias: Key of its bias; None without one.
        axis: Axis of the output's channels.
        groups: Of a convolution; 1 else.
        window: kernel, stride, padding and dilation in two axes; None for a linear layer
            and for convolutions whose patches are not taken.
        is_convolution: Else it is linear.
    """

    node: Node
    source: Node
    weight: str
    order: tuple[int, ...]
    bias: str | None
    axis: int
    groups: int
    window: tuple[tuple[int, int], ...] | None
    is_convolution: bool

    @property
    def can_refit(self) -> bool:
        """Whether its patches can be taken."""
        return self.window is not None or not self.is_convolution

    def patches(self, value: Tensor) -> Tensor:
        """Inputs of shape [groups, positions, taken × kernel]."""
        if not self.is_convolution:
            return value.reshape(1, -1, value.shape[-1])
        assert self.window is not None
        kernel, stride, padding, dilation = self.window
        if value.ndim == 3:
            value = value.unsqueeze(2)
        flat = functional.unfold(value, kernel, dilation, padding, stride)
        batch, rows, positions = flat.shape
        parts = flat.reshape(batch, self.groups, rows // self.groups, positions)
        return parts.permute(1, 0, 3, 2).reshape(self.groups, batch * positions, -1)

    def results(self, value: Tensor) -> Tensor:
        """Outputs of shape [groups, positions, made per group], as `patches` orders them."""
        flat = value.movedim(self.axis, -1).reshape(-1, value.shape[self.axis])
        return flat.reshape(len(flat), self.groups, -1).transpose(0, 1)

    def matrix(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The weight as [groups, made per group, taken × kernel]."""
        turned = weights[self.weight].permute(self.order)
        return turned.reshape(self.groups, turned.shape[0] // self.groups, -1)

    def weight_of(self, matrix: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """The inverse of `matrix`, contiguous and in the weight's dtype."""
        old = weights[self.weight]
        turned = matrix.reshape(old.permute(self.order).shape).to(old.dtype)
        back = [self.order.index(axis) for axis in range(old.ndim)]
        return turned.permute(back).contiguous()

    def scaled(self, scale: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """The weight with each made channel multiplied."""
        old = weights[self.weight]
        around = [1] * old.ndim
        around[self.order[0]] = -1
        return (old.double() * scale.reshape(around)).to(old.dtype).contiguous()


def find_layers(exported: ExportedProgram) -> dict[str, Layer]:
    """Node name → layer, for those whose weights serve this one node."""
    keys = weight_keys(exported)
    found = [
        layer
        for node in exported.graph.nodes
        if node.op == "call_function" and (layer := _layer(node, keys))
    ]
    uses = Counter(key for layer in found for key in (layer.weight, layer.bias) if key)
    uses.update(_other_uses(exported.graph.nodes, keys, {layer.node for layer in found}))
    return {
        layer.node.name: layer
        for layer in found
        if uses[layer.weight] == 1 and (layer.bias is None or uses[layer.bias] == 1)
    }


def _other_uses(nodes: Iterable[Node], keys: Mapping[str, str], layers: set[Node]) -> list[str]:
    used: list[str] = []
    for node in nodes:
        if node.op == "call_function" and node not in layers and not trace_weight(node, keys):
            traced = (trace_weight(each, keys) for each in node.all_input_nodes)
            used.extend(each[0] for each in traced if each)
    return used


def _layer(node: Node, keys: Mapping[str, str]) -> Layer | None:
    name = operator_name(node)
    if name in _CONVOLUTIONS:
        return _convolution(node, keys)
    if name in _LINEAR:
        return _dense(node, keys, _LINEAR[name])
    return None


def _convolution(node: Node, keys: Mapping[str, str]) -> Layer | None:
    given = arguments(node)
    weight = keys.get(getattr(given["weight"], "name", ""))
    bias = _bias(given["bias"], keys)
    if weight is None or bias is _COMPUTED or given.get("transposed"):
        return None
    ndim = len(shape_of(given["weight"]))
    return Layer(
        node, given["input"], weight, tuple(range(ndim)), bias, 1, given["groups"],
        _window(given), True,
    )  # fmt: skip


def _window(given: Mapping[str, Any]) -> tuple[tuple[int, int], ...] | None:
    kernel = shape_of(given["weight"])[2:]
    if len(kernel) > 2 or isinstance(given["padding"], str):
        return None
    parts = (kernel, given["stride"], given["padding"], given["dilation"])
    neutral = (1, 1, 0, 1)
    pairs = []
    for part, plain in zip(parts, neutral, strict=True):
        wide = tuple(part) * (len(kernel) if len(part) == 1 else 1)
        pairs.append((plain, wide[0]) if len(kernel) == 1 else (wide[0], wide[1]))
    return tuple(pairs)


def _dense(node: Node, keys: Mapping[str, str], names: tuple[str, str, str | None]) -> Layer | None:
    given = arguments(node)
    source, weight, bias_name = given[names[0]], given[names[1]], names[2]
    traced = trace_weight(weight, keys)
    bias = _bias(given[bias_name] if bias_name else None, keys)
    if traced is None or len(traced[1]) != 2 or bias is _COMPUTED or source not in _tensors(node):
        return None
    order = traced[1] if operator_name(node) == "aten.linear" else traced[1][::-1]
    axis = len(shape_of(node)) - 1
    return Layer(node, source, traced[0], order, bias, axis, 1, None, False)


def _tensors(node: Node) -> list[Node]:
    return [each for each in node.all_input_nodes if isinstance(each.meta.get("val"), torch.Tensor)]


_COMPUTED = "computed"


def _bias(node: Any, keys: Mapping[str, str]) -> str | None:
    if node is None:
        return None
    return keys.get(getattr(node, "name", ""), _COMPUTED)
