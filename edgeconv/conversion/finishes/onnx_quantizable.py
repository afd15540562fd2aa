"""Writes operators in the forms that ONNX Runtime's quantizer and its 8-bit kernels get right.

All of it in place, and computing the same:

- Gemm: the quantizer drops a factor of the bias, and takes a bias of one axis only.
- Transposed convolutions in groups: it takes as many biases as a group has.
- A weight with several readers is quantized once, along the channels of one of them. Others
  have theirs along another axis, which integer kernels do not look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, helper, numpy_helper

from edgeconv.conversion.onnx_file import DOMAINS, number_nodes

_Axis = int | None
"""Of the channels that the quantizer gives scales of their own; None for one scale."""
_FLOATS = (np.float32, np.float64)


def write_quantizable(graph: GraphProto) -> None:
    """Rewrites what static quantization needs otherwise."""
    constants = _Constants(graph)
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Gemm" and node.domain in DOMAINS:
            nodes += _plain_gemm(node, constants)
        elif node.op_type == "ConvTranspose" and node.domain in DOMAINS:
            nodes += _without_grouped_bias(node, constants)
        else:
            nodes.append(node)
    _put_nodes(graph, nodes)
    separate_weights(graph)
    constants.drop_replaced()
    number_nodes(graph.node)


def split_gemms(graph: GraphProto) -> None:
    """Writes Gemm with constant weights as MatMul and Add.

    The quantizer's own rewriting transposes a weight in place once for each Gemm that
    uses it: where two layers share one, the second finds it the wrong way round.
    """
    constants = _Constants(graph)
    nodes: list[NodeProto] = []
    for node in graph.node:
        plain = [node]
        if node.op_type == "Gemm" and node.domain in DOMAINS:
            plain = _plain_gemm(node, constants)
        nodes += [part for each in plain for part in _as_product(each, constants)]
    _put_nodes(graph, nodes)
    constants.drop_replaced()


def separate_weights(graph: GraphProto) -> None:
    """Gives each axis, along which readers of a weight have their channels, its own copy."""
    weights = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) > 1}
    readers: dict[str, dict[_Axis, list[tuple[NodeProto, int]]]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in weights:
                axes = readers.setdefault(name, {})
                axes.setdefault(_channel_axis(node, place), []).append((node, place))
    taken = _names_made(graph)
    for name, axes in readers.items():
        for axis in list(axes)[1:]:
            copy = _unused(f"{name}/{'whole' if axis is None else axis}", taken)
            graph.initializer.add().CopyFrom(weights[name])
            graph.initializer[-1].name = copy
            for node, place in axes[axis]:
                node.input[place] = copy


def _channel_axis(node: NodeProto, place: int) -> _Axis:
    if node.domain not in DOMAINS:
        return None
    if node.op_type == "MatMul":
        return 1
    if place != 1:
        return None
    gemm = 0 if _attribute(node, "transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1, "Gemm": gemm}.get(node.op_type)


class _Constants:
    """The graph's initializers, those that are replaced, and new ones."""

    def __init__(self, graph: GraphProto) -> None:
        self._graph = graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._made: dict[str, str] = {}
        self._taken = _names_made(graph)
        self._replaced: set[str] = set()

    def values(self, name: str) -> NDArray[Any] | None:
        """None for what is no constant of floats."""
        if name not in self._tensors:
            return None
        values = numpy_helper.to_array(self._tensors[name])
        return values if values.dtype in _FLOATS else None

    def put(self, name: str, values: NDArray[Any], *, instead_of: str) -> str:
        """Adds a constant unless it was added before; the name that it has got."""
        self._replaced.add(instead_of)
        if name not in self._made:
            fresh = self.unused(name)
            tensor = numpy_helper.from_array(np.ascontiguousarray(values), fresh)
            self._graph.initializer.append(tensor)
            self._tensors[fresh] = tensor
            self._made[name] = fresh
        return self._made[name]

    def unused(self, name: str) -> str:
        """The name, with strokes where the model has it for something else."""
        fresh = _unused(name, self._taken)
        self._taken.add(fresh)
        return fresh

    def drop_replaced(self) -> None:
        """Removes what was replaced and is read no more."""
        gone = self._replaced - set(_names_read(self._graph))
        kept = [tensor for tensor in self._graph.initializer if tensor.name not in gone]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        inputs = [value for value in self._graph.input if value.name not in gone]
        del self._graph.input[:]
        self._graph.input.extend(inputs)


def _plain_gemm(node: NodeProto, constants: _Constants) -> list[NodeProto]:
    """Without factors, and with a bias of one axis or an Add behind it."""
    is_plain = _fold_alpha(node, constants)
    bias, beta = node.input[2] if len(node.input) > 2 else "", _attribute(node, "beta", 1.0)
    del node.input[2:]
    _forget(node, "beta")
    if not bias or beta == 0:
        return [node]
    made, extra = node.output[0], []
    values = constants.values(bias)
    if values is not None:
        width = _width(node, constants)
        scaled = _as_vector(np.asarray(values * beta, values.dtype), width)
        if beta != 1 or scaled.shape != values.shape:
            bias = constants.put(f"{made}/bias", scaled, instead_of=bias)
        is_plain &= scaled.shape == (width,)
    elif beta != 1:
        factor = constants.put(f"{made}/beta", np.array(beta, np.float32), instead_of="")
        scaled_bias = constants.unused(f"{made}/scaled")
        extra = [helper.make_node("Mul", [bias, factor], [scaled_bias])]
        bias, is_plain = scaled_bias, False
    if is_plain:
        node.input.append(bias)
        return [node]
    node.output[0] = constants.unused(f"{made}/product")
    return [*extra, node, helper.make_node("Add", [node.output[0], bias], [made])]


def _fold_alpha(node: NodeProto, constants: _Constants) -> bool:
    """Whether the product has no factor then: one before a constant goes into it."""
    alpha, weight = _attribute(node, "alpha", 1.0), constants.values(node.input[1])
    if alpha != 1 and weight is not None:
        scaled = np.asarray(weight * alpha, weight.dtype)
        name = f"{node.input[1]}/{alpha!r}"
        node.input[1] = constants.put(name, scaled, instead_of=node.input[1])
        _forget(node, "alpha")
    return alpha == 1 or weight is not None


def _width(node: NodeProto, constants: _Constants) -> int | None:
    weight = constants.values(node.input[1])
    return None if weight is None else weight.shape[0 if _attribute(node, "transB", 0) else 1]


def _as_vector(bias: NDArray[Any], width: int | None) -> NDArray[Any]:
    """A bias for every column alike has one axis of that width; any other is as it was."""
    last = bias.shape[-1] if bias.ndim else 1
    if width is None or bias.size != last or last not in (1, width):
        return bias
    return np.broadcast_to(bias.reshape(-1), (width,))


def _as_product(node: NodeProto, constants: _Constants) -> list[NodeProto]:
    """A Gemm with a constant weight as MatMul and Add; any other node as it is."""
    if node.op_type != "Gemm" or node.domain not in DOMAINS or _attribute(node, "transA", 0):
        return [node]
    name = node.input[1]
    weight = constants.values(name)
    if weight is None:
        return [node]
    if _attribute(node, "transB", 0):
        name = constants.put(f"{name}/transposed", weight.T, instead_of=name)
    if len(node.input) < 3:
        return [helper.make_node("MatMul", [node.input[0], name], [node.output[0]])]
    product = constants.unused(f"{node.output[0]}/product")
    return [
        helper.make_node("MatMul", [node.input[0], name], [product]),
        helper.make_node("Add", [product, node.input[2]], [node.output[0]]),
    ]


def _without_grouped_bias(node: NodeProto, constants: _Constants) -> list[NodeProto]:
    weight = constants.values(node.input[1])
    bias = constants.values(node.input[2]) if len(node.input) > 2 else None
    if bias is None or weight is None or _attribute(node, "group", 1) == 1:
        return [node]
    made, product = node.output[0], constants.unused(f"{node.output[0]}/product")
    shaped = bias.reshape(-1, *[1] * (weight.ndim - 2))
    name = constants.put(f"{made}/bias", shaped, instead_of=node.input[2])
    del node.input[2:]
    node.output[0] = product
    return [node, helper.make_node("Add", [product, name], [made])]


def _attribute(node: NodeProto, name: str, absent: float) -> Any:
    found = [each for each in node.attribute if each.name == name]
    return helper.get_attribute_value(found[0]) if found else absent


def _forget(node: NodeProto, name: str) -> None:
    kept = [each for each in node.attribute if each.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _put_nodes(graph: GraphProto, nodes: list[NodeProto]) -> None:
    # Copied first: nodes that stay lie in the list that is emptied.
    copies = []
    for node in nodes:
        copies.append(NodeProto())
        copies[-1].CopyFrom(node)
    del graph.node[:]
    graph.node.extend(copies)


def _names_made(graph: GraphProto) -> set[str]:
    """Of inputs, constants and what nodes give."""
    given = {each.name for each in (*graph.input, *graph.initializer)}
    return given | {name for node in graph.node for name in node.output}


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    return name


def _names_read(graph: GraphProto) -> Iterator[str]:
    """By nodes, inner graphs' included, and as outputs."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _names_read(inner)
