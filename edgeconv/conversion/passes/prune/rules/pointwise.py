"""Operators that work position by position: channels of the operands live together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch.fx import Node

from edgeconv.conversion.passes.prune.graph import arguments, operator_name, shape_of
from edgeconv.conversion.passes.prune.twins import (
    Twin,
    axis_twin,
    compact,
    fixed_twin,
    is_fixed,
    settle,
)
from edgeconv.conversion.passes.prune.walk import Walk

# f(0) = 0 for these, whatever their options.
_ZERO_STAYS = frozenset(
    {"relu", "relu6", "gelu", "silu", "hardswish", "mish", "tanh", "neg", "abs", "leaky_relu",
     "elu", "celu", "selu", "sqrt", "square", "sin", "tan", "asin", "atan", "sinh", "asinh",
     "erf", "expm1", "log1p", "softsign", "sign", "floor", "ceil", "round", "trunc", "to",
     "_to_copy", "type_as", "clone", "contiguous", "dropout", "alias", "detach", "positive",
     "lift_fresh_copy", "zeros_like", "hardshrink", "softshrink", "tanhshrink"}
)  # fmt: skip
# Zero if any operand is.
_ZERO_WINS = frozenset({"mul", "multiply"})
# Zero if all operands are, numbers included.
_ZERO_IF_ALL = frozenset({"add", "sub", "maximum", "minimum", "where", "rsub"})


def pointwise(state: Walk, node: Node) -> Twin:
    """Joins the channels of all operands position by position."""
    found = [(each, state.twin(each)) for each in node.all_input_nodes]
    operands = [twin for _, twin in found if twin is not None]
    zero = _is_zero(node, {each: twin.zero for each, twin in found if twin is not None})
    return join_operands(state, node, operands, shape_of(node), zero=zero)


def join_operands(
    state: Walk, node: Node, operands: Sequence[Twin], shape: tuple[int, ...], *, zero: bool
) -> Twin:
    """The twin of a result to which every operand is broadcast."""
    free = [twin for twin in operands if twin.free]
    bound = [twin for twin in operands if not twin.free]
    tagged = [twin for twin in bound if not is_fixed(twin.ids, state.channels)]
    still = [twin for twin in bound if is_fixed(twin.ids, state.channels)]
    if not tagged:
        return _without_channels(state, node, free, still, shape)
    axis = _common_axis(state, node, tagged, len(shape))
    if axis is None:
        for twin in tagged + free:
            state.lock(twin, node, "joins channels of different axes")
        return fixed_twin(shape)
    base = next(twin for twin in tagged if _size_at(twin, axis, len(shape)) > 1)
    for twin in (*tagged, *free):
        if twin is base:
            continue
        if _size_at(twin, axis, len(shape)) > 1:
            left, right = np.broadcast_arrays(compact(base.ids), compact(twin.ids))
            state.join(left, right, node)
        else:
            # Broadcast along the channels: the same for all of them, cut with none.
            state.channels.join(twin.ids.numpy(), np.zeros(twin.shape, dtype=np.int64))
    for twin in still:
        if _size_at(twin, axis, len(shape)) > 1:
            state.lock(base, node, "joins them with a tensor whose channels must stay")
    return Twin(base.ids.expand(shape), zero=zero)


def _without_channels(
    state: Walk, node: Node, free: list[Twin], still: list[Twin], shape: tuple[int, ...]
) -> Twin:
    if free and all(max(twin.shape, default=1) == 1 for twin in still):
        base = free[0].ids.expand(shape)
        for twin in free[1:]:
            state.join(base.numpy(), twin.ids.expand(shape).numpy(), node)
        return Twin(base, zero=False, free=True)
    for twin in free:
        # A weight beside a tensor without channels: nothing to say, it just stays.
        state.channels.join(twin.ids.numpy(), np.zeros(twin.shape, dtype=np.int64))
    return fixed_twin(shape)


def _common_axis(state: Walk, node: Node, tagged: list[Twin], ndim: int) -> int | None:
    axes = set()
    for twin in tagged:
        axis, locked = settle(twin.ids, state.channels)
        if locked:
            state.remember(node, locked, "mixes them with positions that must stay")
        if axis is not None:
            axes.add(axis + ndim - len(twin.shape))
    return axes.pop() if len(axes) == 1 else None


def _size_at(twin: Twin, axis: int, ndim: int) -> int:
    own = axis - (ndim - len(twin.shape))
    return twin.shape[own] if own >= 0 else 1


def _is_zero(node: Node, zeros: dict[Node, bool]) -> bool:
    name = operator_name(node).removeprefix("aten.").removesuffix("_")
    if name in _ZERO_STAYS:
        return any(zeros.values())
    if name in _ZERO_WINS:
        return any(zeros.values())
    if name in ("div", "divide"):
        return isinstance(node.args[0], Node) and zeros.get(node.args[0], False)
    if name in _ZERO_IF_ALL:
        numbers = [each for each in node.args if isinstance(each, int | float)]
        return all(zeros.values()) and not any(numbers)
    if name in ("clamp", "clip", "hardtanh"):
        given = arguments(node)
        low, high = given.get("min", given.get("min_val")), given.get("max", given.get("max_val"))
        bounds = [each for each in (low, high) if each is not None]
        numbers_only = all(isinstance(each, int | float) for each in bounds)
        return any(zeros.values()) and numbers_only and (low or 0) <= 0 <= (high or 0)
    return False


def passes_on(state: Walk, node: Node) -> Any:
    """An operator whose result has the shape and channels of its first argument."""
    twin = state.twin(node.args[0])
    return twin and Twin(twin.ids, zero=_is_zero(node, {node: twin.zero}), free=twin.free)


def prelu(state: Walk, node: Node) -> Twin:
    """PReLU: its slope is per channel of axis 1, or one for all.

    It carries the pointwise tag, but its slope is not broadcast as one.
    """
    given = arguments(node)
    twin = state.twin(given["self"])
    assert twin is not None
    slope = given["weight"]
    if max(shape_of(slope), default=1) > 1 and not is_fixed(twin.ids, state.channels):
        axis = state.axis_of(twin, node)
        if axis != 1:
            state.lock(twin, node, "has a slope for another axis")
            return fixed_twin(twin.shape)
        ids = twin.ids.movedim(1, 0).flatten(1)[:, 0].numpy()
        state.carries(slope, ids, node)
        return axis_twin(ids, twin.shape, 1, zero=twin.zero)
    return Twin(twin.ids, zero=twin.zero)


_SAME_SHAPE = (
    "to", "_to_copy", "type_as", "contiguous", "clone", "dropout", "alias", "detach",
    "lift_fresh_copy", "lift_fresh", "zeros_like", "ones_like", "full_like", "empty_like",
    "feature_dropout", "alpha_dropout",
)  # fmt: skip
_UNTAGGED = (
    "hardswish", "log_sigmoid", "masked_fill", "multiply", "divide", "subtract", "where",
    "expand_as", "rsub", "true_divide", "floor_divide",
)  # fmt: skip

POINTWISE_RULES: dict[str, Callable[[Walk, Node], Any]] = {
    "aten.prelu": prelu,
    "aten._prelu_kernel": prelu,
    **{f"aten.{name}": passes_on for name in _SAME_SHAPE},
    **{f"aten.{name}": pointwise for name in _UNTAGGED},
}
