"""Runs a program node by node over all samples, so that a node's weights can be refitted
on what reaches it before what follows is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import map_arg

from edgeconv.conversion.passes.prune.graph import (
    trace_weight,
    user_inputs,
    weight_keys,
    weight_tensor,
)


class Lockstep:
    """One program's values for all samples; values are let go after their last use."""

    def __init__(self, exported: ExportedProgram, runs: Iterable[Sequence[Tensor]]) -> None:
        self.keys = weight_keys(exported)
        self.weights: dict[str, Tensor] = {
            key: weight_tensor(exported, key).detach() for key in self.keys.values()
        }
        self.nodes = {node.name: node for node in exported.graph.nodes}
        self._last = _last_uses(exported.graph.nodes)
        names = user_inputs(exported)
        self._values: list[dict[Node, Any]] = [
            {self.nodes[name]: tensor.clone() for name, tensor in zip(names, run, strict=True)}
            for run in runs
        ]

    def run(self, name: str) -> None:
        """Computes a node for every sample."""
        node = self.nodes[name]
        if trace_weight(node, self.keys):
            return
        for values in self._values:
            values[node] = self._call(node, values)

    def values(self, node: Node) -> list[Any]:
        """A node's value for every sample."""
        return [self._get(node, values) for values in self._values]

    def has(self, node: Node) -> bool:
        """Whether a node's value is known now."""
        return all(node in values for values in self._values)

    def outputs(self) -> list[list[Tensor]]:
        """The program's results for every sample."""
        node = self.nodes["output"]
        return [[self._get(each, values) for each in node.args[0]] for values in self._values]

    def let_go(self, name: str) -> None:
        """Forgets what no later node needs."""
        for node in self._last.get(name, ()):
            for values in self._values:
                values.pop(node, None)

    def _get(self, node: Node, values: Mapping[Node, Any]) -> Any:
        if node in values:
            return values[node]
        if node.op == "placeholder":
            return self.weights[self.keys[node.name]]
        # A weight turned round: computed on use, since the weight may have been refitted.
        return self._call(node, values)

    def _call(self, node: Node, values: Mapping[Node, Any]) -> Any:
        target: Any = node.target
        args, kwargs = map_arg((node.args, node.kwargs), lambda each: self._get(each, values))
        return target(*args, **kwargs)


def peak_bytes(exported: ExportedProgram) -> int:
    """Most bytes of activations alive at once, for one sample."""
    last = _last_uses(exported.graph.nodes)
    keys = weight_keys(exported)
    live = peak = 0
    for node in exported.graph.nodes:
        if node.op == "output" or node.name in keys:
            continue
        live += _bytes(node)
        peak = max(peak, live)
        live -= sum(_bytes(each) for each in last.get(node.name, ()) if each.name not in keys)
    return peak


def _bytes(node: Node) -> int:
    value = node.meta.get("val")
    tensors = value if isinstance(value, tuple | list) else (value,)
    sizes = (t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))
    return int(sum(sizes))


def _last_uses(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    """Node name → the nodes that are used by it for the last time."""
    user: dict[Node, str] = {}
    for node in nodes:
        user.setdefault(node, node.name)
        for each in node.all_input_nodes:
            user[each] = node.name
    found: dict[str, list[Node]] = {}
    for node, name in user.items():
        found.setdefault(name, []).append(node)
    return found
