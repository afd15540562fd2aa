"""The smaller program: smaller weights, and the literal shapes of the graph made to fit."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch._subclasses import FakeTensorMode
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.passes.prune.graph import (
    arguments,
    operator_name,
    set_argument,
    shape_of,
    weight_keys,
)
from edgeconv.conversion.passes.prune.masks import Kept


def rewrite(exported: ExportedProgram, kept: Kept) -> ExportedProgram:
    """The program without the dropped channels; the given one stays as it is.

    Raises:
        EdgeconvError: INTERNAL naming the node whose literals don't fit.
    """
    module = copy.deepcopy(exported.graph_module)
    weights = kept.weights()
    originals = {node.name: node for node in exported.graph.nodes}
    for node in list(module.graph.nodes):
        change = _REWRITES.get(operator_name(node)) if node.op == "call_function" else None
        if change:
            change(node, originals[node.name], kept)
    made = with_weights(exported, weights, module)
    _infer_again(made)
    return made


def with_weights(
    exported: ExportedProgram,
    weights: Mapping[str, torch.Tensor],
    module: GraphModule | None = None,
) -> ExportedProgram:
    """The same program, or another graph of it, with some weights replaced."""
    module = module or copy.deepcopy(exported.graph_module)
    module.graph.lint()
    module.recompile()
    state = {key: _like(old, weights.get(key)) for key, old in exported.state_dict.items()}
    constants = {key: weights.get(key, old) for key, old in exported.constants.items()}
    return ExportedProgram(
        root=module,
        graph=module.graph,
        graph_signature=copy.deepcopy(exported.graph_signature),
        state_dict=state,
        range_constraints=copy.deepcopy(exported.range_constraints),
        module_call_graph=list(exported.module_call_graph),
        example_inputs=None,
        constants=constants,
        verifiers=[exported.verifier],
    )


def _like(old: torch.Tensor, new: torch.Tensor | None) -> torch.Tensor:
    if new is None:
        return old.detach().clone() if not isinstance(old, torch.nn.Parameter) else (
            torch.nn.Parameter(old.detach().clone(), requires_grad=old.requires_grad)
        )  # fmt: skip
    if isinstance(old, torch.nn.Parameter):
        return torch.nn.Parameter(new, requires_grad=old.requires_grad)
    return new


def _infer_again(exported: ExportedProgram) -> None:
    """Gives every node the shape it has now."""
    keys = weight_keys(exported)
    tensors = {**exported.constants, **exported.state_dict}
    values: dict[Node, Any] = {}
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
        for node in exported.graph.nodes:
            if node.op == "placeholder":
                values[node] = _placeholder(mode, node, tensors.get(keys.get(node.name, "")))
            elif node.op == "call_function":
                values[node] = _call(node, values)
            else:
                # A program that was saved and loaded has a value at its output too, of the
                # old shapes' mode, and two modes in one graph are refused.
                node.meta.pop("val", None)
                continue
            node.meta["val"] = values[node]
            node.meta.pop("tensor_meta", None)


def _placeholder(mode: FakeTensorMode, node: Node, tensor: Any) -> Any:
    value = node.meta.get("val")
    if isinstance(tensor, torch.Tensor):
        return mode.from_tensor(tensor, static_shapes=True)
    if isinstance(value, torch.Tensor):
        return torch.empty(shape_of(node), dtype=value.dtype)
    return value


def _call(node: Node, values: Mapping[Node, Any]) -> Any:
    args, kwargs = map_arg((node.args, node.kwargs), lambda each: values[each])
    target: Any = node.target
    try:
        return target(*args, **kwargs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise EdgeconvError(
            Reason.INTERNAL,
            f"Pruning left node {node.name!r} with shapes that don't fit: {error}",
            node=node.name,
        ) from error


def _sizes(name: str) -> Callable[[Node, Node, Kept], None]:
    """Writes a literal shape anew; -1 and run-time sizes stay."""

    def change(node: Node, original: Node, kept: Kept) -> None:
        shape = kept.shape(original)
        if shape is not None:
            old = arguments(node)[name]
            new = [
                size if isinstance(given, int) and given != -1 else given
                for given, size in zip(old, shape[len(shape) - len(old) :], strict=True)
            ]
            set_argument(node, name, new)

    return change


def _unflatten(node: Node, original: Node, kept: Kept) -> None:
    shape = kept.shape(original)
    given = arguments(original)
    if shape is not None:
        first = given["dim"] % len(shape_of(given["self"]))
        old = given["sizes"]
        sizes = shape[first : first + len(old)]
        new = [-1 if was == -1 else now for was, now in zip(old, sizes, strict=True)]
        set_argument(node, "sizes", new)


def _slice(node: Node, original: Node, kept: Kept) -> None:
    given = arguments(original)
    size = shape_of(given["self"])
    axis = given["dim"] % len(size)
    mask = kept.mask(given["self"], axis) if kept.masks(given["self"]) else None
    if mask is None or mask.all():
        return
    start, stop, _ = slice(given["start"], given["end"]).indices(size[axis])
    set_argument(node, "start", int(mask[:start].sum()))
    set_argument(node, "end", int(mask[: max(stop, start)].sum()))


def _narrow(node: Node, original: Node, kept: Kept) -> None:
    given = arguments(original)
    axis = given["dim"] % len(shape_of(given["self"]))
    mask = kept.mask(given["self"], axis)
    start = given["start"] % len(mask)
    set_argument(node, "start", int(mask[:start].sum()))
    set_argument(node, "length", int(mask[start : start + given["length"]].sum()))


def _select(node: Node, original: Node, kept: Kept) -> None:
    given = arguments(original)
    axis = given["dim"] % len(shape_of(given["self"]))
    masks = kept.masks(given["self"])
    if masks is not None and not masks[axis].all():
        index = given["index"] % len(masks[axis])
        set_argument(node, "index", int(masks[axis][:index].sum()))


def _split(node: Node, original: Node, kept: Kept) -> None:
    """Any even split of channels becomes one with the sizes that stay."""
    given = arguments(original)
    axis = given["dim"] % len(shape_of(given["self"]))
    masks = kept.masks(given["self"])
    if masks is None or masks[axis].all():
        return
    sizes = [int(kept.mask(twin, axis).sum()) for twin in kept.results(original)]
    node.target = torch.ops.aten.split_with_sizes.default
    node.args = (node.args[0], sizes, axis)
    node.kwargs = {}


def _groups(node: Node, original: Node, kept: Kept) -> None:
    """A depthwise convolution has as many groups as channels."""
    given = arguments(original)
    masks = kept.masks(given["input"])
    if masks is not None and given["groups"] > 1 and given["groups"] == len(masks[1]):
        set_argument(node, "groups", int(masks[1].sum()))


def _scale(node: Node, original: Node, kept: Kept) -> None:
    """Attention divides by the root of the width it had, not of the one it has now."""
    given = arguments(original)
    masks = kept.masks(given["query"])
    if masks is not None and not masks[-1].all() and given.get("scale") is None:
        set_argument(node, "scale", 1 / math.sqrt(len(masks[-1])))


def _metadata(node: Node, original: Node, kept: Kept) -> None:
    given = arguments(original)
    shape = kept.shape(given["a"])
    if shape is not None:
        for name in ("size", "stride"):
            if given.get(name) is not None:
                set_argument(node, name, list(shape) if name == "size" else None)


_REWRITES: dict[str, Callable[[Node, Node, Kept], None]] = {
    "aten.view": _sizes("size"),
    "aten._unsafe_view": _sizes("size"),
    "aten.reshape": _sizes("shape"),
    "aten.expand": _sizes("size"),
    "aten.broadcast_to": _sizes("size"),
    "aten.unflatten": _unflatten,
    "aten.slice": _slice,
    "aten.narrow": _narrow,
    "aten.select": _select,
    "aten.chunk": _split,
    "aten.split": _split,
    "aten.split_with_sizes": _split,
    "aten.tensor_split": _split,
    **{f"aten.{name}{axes}d": _groups
       for name in ("conv", "conv_transpose") for axes in (1, 2, 3)},
    "aten.convolution": _groups,
    "aten.scaled_dot_product_attention": _scale,
    "aten._assert_tensor_metadata": _metadata,
}  # fmt: skip
