"""Layers with weights: convolutions, linear layers, embeddings make and take channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch.fx import Node

from edgeconv.conversion.passes.prune.channels import Ids
from edgeconv.conversion.passes.prune.graph import (
    arguments,
    operator_name,
    shape_of,
    trace_weight,
    weight_tensor,
)
from edgeconv.conversion.passes.prune.twins import Twin, along, axis_twin, is_fixed
from edgeconv.conversion.passes.prune.walk import Walk, blank, refuse


def channels_at(state: Walk, node: Node, twin: Twin, axis: int, because: str) -> Ids:
    """The ids along an axis; channels that lie along another one are locked."""
    if not is_fixed(twin.ids, state.channels):
        found = state.axis_of(twin, node)
        if found != axis:
            state.lock(twin, node, because)
        else:
            return along(twin.ids, axis)
    return np.zeros(twin.shape[axis], dtype=np.int64)


def convolution(state: Walk, node: Node) -> Any:
    """A convolution, transposed or not, in groups or not."""
    given = arguments(node)
    key = state.keys.get(getattr(given["weight"], "name", ""))
    twin = state.twin(given["input"])
    if key is None or twin is None:
        return refuse(state, node, "computes its weights")
    weight = weight_tensor(state.exported, key)
    if weight.ndim != len(twin.shape):
        return refuse(state, node, "has an input without a batch axis")
    transposed = given.get("transposed", "transpose" in operator_name(node))
    groups = given["groups"]
    taken = channels_at(state, node, twin, 1, "slides over the axis of the channels")
    if groups == 1:
        made = _dense(state, node, key, taken, transposed=transposed)
    elif groups == len(taken):
        made = _depthwise(state, node, key, taken, transposed=transposed)
    else:
        made = _grouped(state, node, key, taken, groups, transposed=transposed)
    state.carries(given["bias"], made, node)
    return axis_twin(made, shape_of(node), 1, zero=True)


def _dense(state: Walk, node: Node, key: str, taken: Ids, *, transposed: bool) -> Ids:
    makes, takes = (1, 0) if transposed else (0, 1)
    state.cut(key, takes, taken, "takes", node)
    return state.makes(key, makes, weight_tensor(state.exported, key).shape[makes], node)


def _depthwise(state: Walk, node: Node, key: str, taken: Ids, *, transposed: bool) -> Ids:
    shape = weight_tensor(state.exported, key).shape
    each = shape[1] if transposed else shape[0] // len(taken)
    made = np.repeat(taken, each)
    state.cut(key, 0, taken if transposed else made, "carries", node)
    state.cut(key, 1, np.zeros(shape[1], dtype=np.int64), "carries", node)
    return made


def _grouped(
    state: Walk, node: Node, key: str, taken: Ids, groups: int, *, transposed: bool
) -> Ids:
    """Every group keeps the same places, so that the groups stay of one size."""
    shape = weight_tensor(state.exported, key).shape
    size = shape[1] * groups if transposed else shape[0]
    made = state.channels.fresh(size)
    rows = made.reshape(groups, -1)
    state.join(np.broadcast_to(rows[:1], rows.shape), rows, node)
    rows = taken.reshape(groups, -1)
    state.join(np.broadcast_to(rows[:1], rows.shape), rows, node)
    if transposed:
        state.cut(key, 0, taken, "takes", node)
        state.cut(key, 1, made[: shape[1]], "makes", node)
    else:
        state.cut(key, 0, made, "makes", node)
        state.cut(key, 1, taken[: shape[1]], "takes", node)
    return made


def linear(state: Walk, node: Node) -> Any:
    """`aten.linear`: the weight is [made, taken]."""
    given = arguments(node)
    traced = trace_weight(given["weight"], state.keys)
    twin = state.twin(given["input"])
    if traced is None or twin is None or len(traced[1]) != 2:
        return refuse(state, node, "computes its weights")
    return dense(state, node, twin, traced[0], traced[1], given["bias"])


def addmm(state: Walk, node: Node) -> Any:
    """`aten.addmm`: the weight is [taken, made]."""
    given = arguments(node)
    traced = trace_weight(given["mat2"], state.keys)
    twin = state.twin(given["mat1"])
    plain = given["beta"] == 1 and given["alpha"] == 1
    if traced is None or twin is None or not plain:
        return refuse(state, node, "computes its weights")
    return dense(state, node, twin, traced[0], traced[1][::-1], given["self"])


def dense(state: Walk, node: Node, twin: Twin, key: str, axes: tuple[int, ...], bias: Any) -> Any:
    """A linear layer over the last axis; `axes` are the weight's (made, taken)."""
    makes, takes = axes
    weight = weight_tensor(state.exported, key)
    last = len(twin.shape) - 1
    fixed = is_fixed(twin.ids, state.channels)
    axis = None if fixed else state.axis_of(twin, node)
    if axis is None or axis == last:
        taken = channels_at(state, node, twin, last, "holds nothing besides them")
        state.cut(key, takes, taken, "takes", node)
        made = state.makes(key, makes, weight.shape[makes], node)
        state.carries(bias, made, node)
        return axis_twin(made, shape_of(node), last, zero=True)
    # The layer mixes another axis (tokens, say): the channels pass, its weights stay.
    for each in (makes, takes):
        state.cut(key, each, np.zeros(weight.shape[each], dtype=np.int64), "carries", node)
    ids = twin.ids.narrow(last, 0, 1).expand(shape_of(node))
    return Twin(ids, zero=twin.zero and bias is None)


def embedding(state: Walk, node: Node) -> Any:
    """A table look-up: the table's second axis makes channels."""
    given = arguments(node)
    key = state.keys.get(getattr(given["weight"], "name", ""))
    if key is None:
        return refuse(state, node, "computes its weights")
    twin = state.twin(given["indices"])
    if twin and not is_fixed(twin.ids, state.channels):
        state.lock(twin, node, "looks them up")
    made = state.makes(key, 1, weight_tensor(state.exported, key).shape[1], node)
    shape = shape_of(node)
    return axis_twin(made, shape, len(shape) - 1, zero=True) if shape else blank(node)


LAYER_RULES: dict[str, Callable[[Walk, Node], Any]] = {
    **{f"aten.{name}{axes}d": convolution
       for name in ("conv", "conv_transpose") for axes in (1, 2, 3)},
    "aten.convolution": convolution,
    "aten.linear": linear,
    "aten.addmm": addmm,
    "aten.embedding": embedding,
}  # fmt: skip
