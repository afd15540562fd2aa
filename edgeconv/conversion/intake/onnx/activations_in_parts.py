"""Activations that an exporter wrote in parts, whatever the order of their products and sums.

Each is told by one nonlinear step n of an input x: what goes into n is a polynomial of x,
what comes out in the end is a polynomial of x and n. Both are computed from the graph and
compared with what the activation is by its definition:

    Gelu        n = erf(x / √2)                              x/2 + x·n/2
    Gelu, tanh  n = tanh(√(2/π)·(x + 0.044715·x³))           x/2 + x·n/2
    HardSwish   n = clip(x + 3, 0, 6)                        x·n/6
                n = clip(x/6 + 1/2, 0, 1), hard-sigmoid      x·n
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgeconv.conversion.intake.onnx.model import Node
from edgeconv.conversion.intake.onnx.plan import PlannedStep, Ref
from edgeconv.conversion.intake.onnx.step_graph import Match, StepGraph, single_number

Polynomial = dict[tuple[int, int], float]
"""(power of x, power of n) → factor."""

_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Pow")
_DEPTH = 6
# What rounding a constant to float32 leaves, with room for a product of two.
_TOLERANCE = 1e-6
_X, _N, _ONE = (1, 0), (0, 1), (0, 0)
_TANH_SCALE = math.sqrt(2 / math.pi)


@dataclass(frozen=True)
class _Definition:
    inner: Polynomial
    outer: Polynomial
    node: tuple[str, int, dict[str, object]]
    bounds: tuple[float, float] | None = None


_GELU = {_X: 0.5, (1, 1): 0.5}
_HARD_SWISH: tuple[str, int, dict[str, object]] = ("HardSwish", 14, {})
_DEFINITIONS: dict[str, tuple[_Definition, ...]] = {
    "Erf": (_Definition({_X: math.sqrt(0.5)}, _GELU, ("Gelu", 20, {"approximate": "none"})),),
    "Tanh": (
        _Definition(
            {_X: _TANH_SCALE, (3, 0): 0.044715 * _TANH_SCALE},
            _GELU,
            ("Gelu", 20, {"approximate": "tanh"}),
        ),
    ),
    "Clip": (
        _Definition({_X: 1.0, _ONE: 3.0}, {(1, 1): 1 / 6}, _HARD_SWISH, (0.0, 6.0)),
        _Definition({_X: 1 / 6, _ONE: 0.5}, {(1, 1): 1.0}, _HARD_SWISH, (0.0, 1.0)),
    ),
    "HardSigmoid": (_Definition({_X: 1.0}, {(1, 1): 1.0}, _HARD_SWISH),),
}  # fmt: skip


def find_activation(step: PlannedStep, graph: StepGraph) -> Match | None:
    """The activation whose nonlinear step this is, with all that belongs to it."""
    for definition in _DEFINITIONS.get(step.node.operator, ()):
        if not _is_plain(step, definition):
            continue
        for source in _sources(step.refs[0], graph):
            found = _match(step, source, definition, graph)
            if found is not None:
                return found
    return None


def _is_plain(step: PlannedStep, definition: _Definition) -> bool:
    attributes = step.node.attributes
    if len(step.refs) != 1 or not isinstance(step.arguments[0], Ref):
        return False
    if step.node.operator == "HardSigmoid":
        return bool(np.float32(attributes["alpha"]) == np.float32(1 / 6)) and (
            attributes["beta"] == 0.5
        )
    if definition.bounds is None:
        return True
    if step.node.version == 6:
        return (attributes["min"], attributes["max"]) == definition.bounds
    bounds = tuple(single_number(each, 1) for each in step.arguments[1:])
    return bounds == definition.bounds


def _sources(name: str, graph: StepGraph, depth: int = _DEPTH) -> Iterator[str]:
    """The tensors that a nonlinear step's input may be a polynomial of, nearest first."""
    level = [name]
    for _ in range(depth):
        yield from level
        makers = [graph.maker(each, *_ARITHMETIC) for each in level]
        level = list(dict.fromkeys(ref for made in makers if made for ref in made.refs))


def _match(
    step: PlannedStep, source: str, definition: _Definition, graph: StepGraph
) -> Match | None:
    x = graph.tensor(source)
    if not x.is_floating_point():
        return None
    inside: set[PlannedStep] = set()
    inner = _expand(step.refs[0], {source: _X}, graph, x.ndim, inside)
    if not _same(inner, definition.inner):
        return None
    made = step.node.outputs[0]
    for last in _behind(made, graph):
        outside: set[PlannedStep] = set()
        symbols = {source: _X, made: _N}
        outer = _expand(last.node.outputs[0], symbols, graph, x.ndim, outside)
        gone = (inside | outside | {step}) - {last}
        if _same(outer, definition.outer) and graph.hidden(gone, last):
            operator, version, attributes = definition.node
            outputs = last.node.outputs[:1]
            node = Node(last.node.name, operator, version, (source,), outputs, dict(attributes))
            return Match(operator, last, PlannedStep(node, (Ref(source),)), gone)
    return None


def _behind(name: str, graph: StepGraph) -> Iterator[PlannedStep]:
    """The arithmetic that reads a tensor, and what reads that, nearest first."""
    level = graph.readers(name, *_ARITHMETIC)
    for _ in range(_DEPTH):
        yield from level
        level = [
            each for step in level for each in graph.readers(step.node.outputs[0], *_ARITHMETIC)
        ]


def _expand(
    name: str,
    symbols: Mapping[str, tuple[int, int]],
    graph: StepGraph,
    rank: int,
    used: set[PlannedStep],
    depth: int = _DEPTH,
) -> Polynomial | None:
    """A tensor as a polynomial of the symbols; the steps that compute it go into `used`."""
    if name in symbols:
        return {symbols[name]: 1.0}
    step = graph.maker(name, *_ARITHMETIC)
    if step is None or depth == 0:
        return None
    sides: list[Polynomial] = []
    for each in step.arguments:
        if isinstance(each, Ref):
            side = _expand(each.name, symbols, graph, rank, used, depth - 1)
        else:
            number = single_number(each, rank)
            side = None if number is None else {_ONE: number}
        if side is None:
            return None
        sides.append(side)
    used.add(step)
    return _joined(step.node.operator, *sides)


def _joined(operator: str, left: Polynomial, right: Polynomial) -> Polynomial | None:
    if operator == "Add":
        return _sum(left, right, 1.0)
    if operator == "Sub":
        return _sum(left, right, -1.0)
    if operator == "Mul":
        return _product(left, right)
    if set(right) != {_ONE}:
        return None
    number = right[_ONE]
    if operator == "Div":
        return _product(left, {_ONE: 1 / number}) if number else None
    if number not in (2.0, 3.0):
        return None
    square = _product(left, left)
    return square if number == 2.0 else _product(square, left)


def _sum(left: Polynomial, right: Polynomial, sign: float) -> Polynomial:
    made = dict(left)
    for powers, factor in right.items():
        made[powers] = made.get(powers, 0.0) + sign * factor
    return made


def _product(left: Polynomial, right: Polynomial) -> Polynomial:
    made: Polynomial = {}
    for (a, b), first in left.items():
        for (c, d), second in right.items():
            made[a + c, b + d] = made.get((a + c, b + d), 0.0) + first * second
    return made


def _same(got: Polynomial | None, wanted: Polynomial) -> bool:
    if got is None or got.keys() != wanted.keys():
        return False
    return all(math.isclose(got[key], wanted[key], rel_tol=_TOLERANCE) for key in wanted)
