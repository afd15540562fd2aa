"""Fusion: fewer, larger operators, which converters turn into faster files.

    Conv → BatchNormalization, Mul, Add, Sub or Div by constants   becomes   Conv
    MatMul by a constant matrix → Add of a constant vector         becomes   LinearBias
    x · clip(x + 3, 0, 6) / 6 and its like                         becomes   HardSwish
    x · (1 + erf(x / √2)) / 2, and its form with tanh              becomes   Gelu
    (x - mean) / √(variance + ε) · scale + bias                    becomes   LayerNormalization

Only a tensor that nothing else reads is fused away. Constants are computed in float64.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from edgeconv.conversion.intake.onnx.activations_in_parts import find_activation
from edgeconv.conversion.intake.onnx.call import Array
from edgeconv.conversion.intake.onnx.norms_in_parts import find_layer_norm
from edgeconv.conversion.intake.onnx.plan import Argument, Plan, PlannedStep, Ref
from edgeconv.conversion.intake.onnx.step_graph import Find, StepGraph


@dataclass
class Fusion:
    """A plan after fusion and what was fused, by pattern."""

    plan: Plan
    counts: Counter[str]

    @classmethod
    def nothing(cls, plan: Plan) -> Fusion:
        """A plan as it is."""
        return cls(plan, Counter())


def fuse(plan: Plan) -> Fusion:
    """The plan with all patterns fused, until nothing more fits."""
    counts: Counter[str] = Counter()
    steps = list(plan.steps)
    for find in (find_activation, find_layer_norm):
        steps = _replaced(StepGraph(plan, steps), find, counts)
    while (again := _fuse_affine(plan, steps)) is not None:
        steps, name = again
        counts[name] += 1
    return Fusion(plan.with_steps(steps), counts)


def _replaced(graph: StepGraph, find: Find, counts: Counter[str]) -> list[PlannedStep]:
    """The steps with every match of a pattern as one of them; matches don't overlap."""
    made: dict[PlannedStep, PlannedStep] = {}
    gone: set[PlannedStep] = set()
    for step in graph.steps:
        match = find(step, graph)
        if match is None or not gone.isdisjoint((*match.gone, match.last)):
            continue
        gone.update(match.gone, (match.last,))
        made[match.last] = match.step
        counts[match.name] += 1
    return [made.get(step, step) for step in graph.steps if step in made or step not in gone]


Found = tuple[list[PlannedStep], str] | None


def _uses(plan: Plan, steps: list[PlannedStep]) -> Counter[str]:
    uses = Counter(name for step in steps for name in step.refs)
    uses.update(each.name for each in plan.outputs if isinstance(each, Ref))
    return uses


def _fuse_affine(plan: Plan, steps: list[PlannedStep]) -> Found:
    uses = _uses(plan, steps)
    makers = {step.node.outputs[0]: place for place, step in enumerate(steps)}
    for place, step in enumerate(steps):
        read = step.refs
        if len(read) != 1 or uses[read[0]] != 1 or read[0] not in makers:
            continue
        before = makers[read[0]]
        fused = _absorb(steps[before], step)
        if fused is not None:
            kept = [each for at, each in enumerate(steps) if at not in (before, place)]
            kept.insert(before, fused)
            return kept, f"{step.node.operator} into {steps[before].node.operator}"
    return None


def _absorb(first: PlannedStep, second: PlannedStep) -> PlannedStep | None:
    if first.node.operator == "Conv":
        affine = _affine(second, _rank(first))
        return None if affine is None else _scaled_conv(first, second, *affine)
    if first.node.operator == "MatMul" and second.node.operator == "Add":
        return _linear(first, second)
    return None


def _rank(conv: PlannedStep) -> int:
    weights = conv.arguments[1]
    return weights.ndim if isinstance(weights, np.ndarray) else 0


def _affine(step: PlannedStep, rank: int) -> tuple[Array, Array] | None:
    """Factor and offset per channel, or single numbers, in float64; None if it is neither."""
    node, arguments = step.node, step.arguments
    if node.operator == "BatchNormalization":
        return _batch_norm(step)
    if node.operator not in ("Mul", "Add", "Sub", "Div") or not rank:
        return None
    left, right = arguments
    constant = right if isinstance(right, np.ndarray) else left
    if not isinstance(constant, np.ndarray) or constant.dtype.kind != "f":
        return None
    values = _per_channel(constant, rank)
    if values is None:
        return None
    one, zero = np.ones(1), np.zeros(1)
    if node.operator == "Mul":
        return values, zero
    if node.operator == "Add":
        return one, values
    if constant is left:
        return (-one, values) if node.operator == "Sub" else None
    return (one, -values) if node.operator == "Sub" else (1 / values, zero)


def _per_channel(constant: Array, rank: int) -> Array | None:
    """A constant as a vector over the channel axis, if that is all it varies over."""
    if constant.ndim > rank:
        return None
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    return constant.astype(np.float64).reshape(-1)


def _batch_norm(step: PlannedStep) -> tuple[Array, Array] | None:
    vectors = step.arguments[1:]
    attributes = step.node.attributes
    if attributes.get("training_mode", 0) or attributes.get("spatial", 1) != 1:
        return None
    if len(step.node.outputs) > 1 and any(step.node.outputs[1:]):
        return None
    if not all(isinstance(each, np.ndarray) for each in vectors):
        return None
    scale, bias, mean, variance = (np.asarray(each, np.float64) for each in vectors)
    factor = scale / np.sqrt(variance + attributes["epsilon"])
    return factor, bias - mean * factor


def _scaled_conv(
    first: PlannedStep, second: PlannedStep, factor: Array, offset: Array
) -> PlannedStep | None:
    x, weights, *rest = first.arguments
    bias = rest[0] if rest else None
    if not isinstance(weights, np.ndarray) or weights.dtype != np.float32 or isinstance(bias, Ref):
        return None
    channels = weights.shape[0]
    if factor.size not in (1, channels) or offset.size not in (1, channels):
        return None
    wide = weights.astype(np.float64) * factor.reshape(-1, *(1,) * (weights.ndim - 1))
    moved = np.zeros(channels) if bias is None else bias.astype(np.float64)
    moved = np.broadcast_to(moved * factor + offset, (channels,))
    return _joined(first, second, (x, wide.astype(np.float32), moved.astype(np.float32)))


def _linear(first: PlannedStep, second: PlannedStep) -> PlannedStep | None:
    x, weights = first.arguments
    bias = next((each for each in second.arguments if isinstance(each, np.ndarray)), None)
    if not isinstance(weights, np.ndarray) or weights.ndim != 2 or not isinstance(x, Ref):
        return None
    if bias is None or bias.ndim != 1 or bias.shape[0] != weights.shape[1]:
        return None
    made = _joined(first, second, (x, weights, bias))
    node = replace(made.node, operator="LinearBias", version=1, attributes={})
    return PlannedStep(node, made.arguments)


def _joined(
    first: PlannedStep, second: PlannedStep, arguments: tuple[Argument, ...]
) -> PlannedStep:
    """The first node with the outputs of the second."""
    node = replace(first.node, outputs=second.node.outputs[:1])
    return PlannedStep(node, arguments)
