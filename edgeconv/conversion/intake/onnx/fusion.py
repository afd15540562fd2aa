"""Fusion: fewer, larger operators, which converters turn into faster files.

    Conv → BatchNormalization, Mul, Add, Sub or Div by constants   becomes   Conv
    MatMul by a constant matrix → Add of a constant vector         becomes   LinearBias
    x · clip(x + 3, 0, 6) / 6                                      becomes   HardSwish

Only a tensor that nothing else reads is fused away. Constants are computed in float64.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from edgeconv.conversion.intake.onnx.call import Array
from edgeconv.conversion.intake.onnx.model import Node
from edgeconv.conversion.intake.onnx.plan import Argument, Plan, PlannedStep, Ref


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
    for rule in (_fuse_hard_swish, _fuse_affine):
        while (again := rule(plan, steps)) is not None:
            steps, name = again
            counts[name] += 1
    return Fusion(plan.with_steps(steps), counts)


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


def _fuse_hard_swish(plan: Plan, steps: list[PlannedStep]) -> Found:
    uses = _uses(plan, steps)
    makers = {step.node.outputs[0]: step for step in steps}
    for last in steps:
        found = _hard_swish(last, makers, uses)
        if found is None:
            continue
        source, gone = found
        node = Node(last.node.name, "HardSwish", 14, (source,), last.node.outputs[:1], {})
        place = steps.index(last)
        kept = [*steps[:place], PlannedStep(node, (Ref(source),)), *steps[place + 1 :]]
        return [step for step in kept if step not in gone], "hard-swish"
    return None


def _hard_swish(
    last: PlannedStep, makers: dict[str, PlannedStep], uses: Counter[str]
) -> tuple[str, list[PlannedStep]] | None:
    """The tensor that x · clip(x + 3, 0, 6) / 6 is computed from, and the inner steps."""
    divided = _other(last, "Div", 6.0)
    product = _made_by(divided, "Mul", makers, uses)
    if product is None or len(product.refs) != 2:
        return None
    for clipped, source in (product.refs, product.refs[::-1]):
        clip = _made_by(clipped, "Clip", makers, uses)
        if clip is None or not _clips(clip):
            continue
        shift = _made_by(clip.refs[0], "Add", makers, uses)
        if shift is not None and _other(shift, "Add", 3.0) == source:
            return source, [product, clip, shift]
    return None


def _made_by(
    name: str | None, operator: str, makers: dict[str, PlannedStep], uses: Counter[str]
) -> PlannedStep | None:
    step = makers.get(name or "")
    if step is None or step.node.operator != operator or uses[step.node.outputs[0]] != 1:
        return None
    return step


def _other(step: PlannedStep, operator: str, number: float) -> str | None:
    """The tensor that an operator joins with this number, if that is what it does."""
    if step.node.operator != operator or len(step.refs) != 1:
        return None
    constants = [each for each in step.arguments if isinstance(each, np.ndarray)]
    divides = operator == "Div" and not isinstance(step.arguments[1], np.ndarray)
    if divides or len(constants) != 1 or constants[0].size != 1:
        return None
    return step.refs[0] if float(constants[0].reshape(())) == number else None


def _clips(step: PlannedStep) -> bool:
    if step.node.version == 6:
        low, high = step.node.attributes["min"], step.node.attributes["max"]
        return bool(low == 0.0 and high == 6.0)
    bounds = [
        float(each.reshape(())) for each in step.arguments[1:] if isinstance(each, np.ndarray)
    ]
    return len(step.refs) == 1 and bounds == [0.0, 6.0]
