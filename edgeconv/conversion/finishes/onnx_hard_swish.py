"""Hard-swish written out as four operators becomes two, which the runtime joins and is quick at.

Frameworks that had no such operator write x · clip(x + 3, 0, 6) / 6. Each of the four would
be quantized, or converted to and from float, by itself.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from edgeconv.conversion.onnx_file import DOMAINS, number_nodes

_SLACK = 1e-4


def join_hard_swishes(graph: GraphProto) -> int:
    """Writes each as x · HardSigmoid(x), in place, which every opset has; how many."""
    found = _Graph(graph).hard_swishes()
    gone = {name for _, names, _ in found for name in names}
    made = {last: x for x, _, last in found}
    nodes = []
    for node in graph.node:
        first = node.output[0] if node.output else ""
        if first in made:
            gate = f"{first}/gate"
            nodes.append(
                helper.make_node("HardSigmoid", [made[first]], [gate], alpha=1 / 6, beta=0.5)
            )
            nodes.append(helper.make_node("Mul", [made[first], gate], [first]))
        elif first not in gone:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    number_nodes(graph.node)
    return len(found)


class _Graph:
    def __init__(self, graph: GraphProto) -> None:
        self._nodes = [node for node in graph.node if node.domain in DOMAINS]
        self._makers = {name: node for node in self._nodes for name in node.output}
        self._readers: dict[str, int] = {value.name: 2 for value in graph.output}
        for node in graph.node:
            for name in node.input:
                self._readers[name] = self._readers.get(name, 0) + 1
        # A constant of more axes would raise the rank of what it meets.
        self._constants = {
            tensor.name: float(numpy_helper.to_array(tensor).reshape(-1)[0])
            for tensor in graph.initializer
            if tuple(tensor.dims) in ((), (1,)) and tensor.data_type == TensorProto.FLOAT
        }

    def hard_swishes(self) -> list[tuple[str, tuple[str, ...], str]]:
        """Input, tensors in between, output of each."""
        found: list[tuple[str, tuple[str, ...], str]] = []
        for node in self._nodes:
            product = self._by(node, "Div", 6.0) or self._by(node, "Mul", 1 / 6)
            whole = self._made(product, "Mul")
            for x, clipped in (whole.input, whole.input[::-1]) if whole else ():
                clip = self._made(clipped, "Clip")
                raised = clip.input[0] if clip and self._bounds(clip) == (0.0, 6.0) else ""
                add = self._made(raised, "Add")
                if add and self._by(add, "Add", 3.0) == x:
                    found.append((x, (raised, clipped, product), node.output[0]))
        return found

    def _made(self, name: str, kind: str) -> NodeProto | None:
        """The node that makes a tensor, if it is of that kind and one other node reads it."""
        node = self._makers.get(name)
        return node if node and node.op_type == kind and self._readers[name] == 1 else None

    def _by(self, node: NodeProto, kind: str, value: float) -> str:
        """The input that stands beside a constant in a node of that kind; "" without one."""
        if node.op_type != kind:
            return ""
        inputs = [str(name) for name in node.input]
        sides = [inputs] if kind == "Div" else [inputs, inputs[::-1]]
        for one, other in sides:
            if abs(self._constants.get(other, np.inf) - value) < _SLACK * value:
                return one
        return ""

    def _bounds(self, clip: NodeProto) -> tuple[float, float] | None:
        names = list(clip.input[1:])
        if len(names) != 2 or not all(name in self._constants for name in names):
            return None
        return self._constants[names[0]], self._constants[names[1]]
