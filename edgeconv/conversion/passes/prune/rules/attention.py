"""Products of two activations: matmul, bmm and scaled dot-product attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch.fx import Node

from edgeconv.conversion.passes.prune.graph import arguments, shape_of, trace_weight
from edgeconv.conversion.passes.prune.rules.layers import dense
from edgeconv.conversion.passes.prune.rules.pointwise import join_operands
from edgeconv.conversion.passes.prune.twins import Twin, along, axis_twin, fixed_twin, is_fixed
from edgeconv.conversion.passes.prune.walk import Walk, refuse


def matmul(state: Walk, node: Node) -> Any:
    """matmul, mm and bmm: a linear layer if the right side is a matrix of weights."""
    left, right = node.args[0], node.args[1]
    traced = trace_weight(right, state.keys)
    twin = state.twin(left)
    if traced and len(traced[1]) == 2 and twin and not trace_weight(left, state.keys):
        return dense(state, node, twin, traced[0], traced[1][::-1], None)
    other = state.twin(right)
    if twin is None or other is None or min(len(twin.shape), len(other.shape)) < 2:
        return refuse(state, node, "multiplies something that is no matrix")
    if twin.free or other.free:
        return refuse(state, node, "multiplies with weights that are no matrix")
    return product(state, node, twin, other)


def product(state: Walk, node: Node, left: Twin, right: Twin) -> Twin:
    """The twin of left @ right, broadcast over the axes before the last two."""
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    _contract(state, node, left, right)
    parts: list[tuple[int, Twin]] = []
    for twin, summed in ((left, -1), (right, -2)):
        axis = None if is_fixed(twin.ids, state.channels) else state.axis_of(twin, node)
        if axis is None or axis - len(twin.shape) == summed:
            continue
        parts.append((axis - len(twin.shape), twin))
    if not parts:
        return fixed_twin(shape)
    axis = parts[0][0]
    ids = along(parts[0][1].ids, axis)
    if len({place for place, _ in parts}) > 1 or _is_wide(axis, parts, left, right):
        for _, twin in parts:
            state.lock(twin, node, "multiplies channels of different axes")
        return fixed_twin(shape)
    for _, twin in parts[1:]:
        state.join(ids, along(twin.ids, axis), node)
    zero = any(twin.zero for _, twin in parts)
    return axis_twin(ids, shape, len(shape) + axis, zero=zero)


def attention(state: Walk, node: Node) -> Any:
    """Scaled dot-product attention as the two products and the softmax that it is."""
    given = arguments(node)
    query, key, value = (state.twin(given[name]) for name in ("query", "key", "value"))
    if query is None or key is None or value is None or given.get("enable_gqa"):
        return refuse(state, node, "shares keys between heads")
    turned = Twin(key.ids.transpose(-1, -2), zero=key.zero)
    scores = product(state, node, query, turned)
    mask = state.twin(given.get("attn_mask"))
    if mask is not None:
        scores = join_operands(state, node, [scores, mask], scores.shape, zero=False)
    if not is_fixed(scores.ids, state.channels):
        axis = state.axis_of(scores, node)
        if axis is None or axis == len(scores.shape) - 1:
            state.lock(scores, node, "takes a softmax over them")
    made = product(state, node, Twin(scores.ids, zero=False), value)
    assert made.shape == shape_of(node)
    return made


def _contract(state: Walk, node: Node, left: Twin, right: Twin) -> None:
    """Joins the channels that are summed over, if a removed one adds nothing to the sum."""
    ids = [np.zeros(left.shape[-1], dtype=np.int64)] * 2
    summed = False
    for place, (twin, axis) in enumerate(((left, -1), (right, -2))):
        if is_fixed(twin.ids, state.channels):
            continue
        found = state.axis_of(twin, node)
        if found is not None and found - len(twin.shape) == axis:
            ids[place] = along(twin.ids, axis)
            summed = True
    if not summed:
        return
    state.join(ids[0], ids[1], node)
    if not (left.zero or right.zero):
        for twin in (left, right):
            state.lock(twin, node, "adds up channels that are not zero without their weights")


def _is_wide(axis: int, parts: list[tuple[int, Twin]], left: Twin, right: Twin) -> bool:
    """Whether a batch axis has channels on one side only while the other is as wide."""
    if axis >= -2 or len(parts) == 2:
        return False
    other = right if parts[0][1] is left else left
    return len(other.shape) >= -axis and other.shape[axis] > 1


ATTENTION_RULES: dict[str, Callable[[Walk, Node], Any]] = {
    "aten.matmul": matmul,
    "aten.mm": matmul,
    "aten.bmm": matmul,
    "aten.scaled_dot_product_attention": attention,
}
