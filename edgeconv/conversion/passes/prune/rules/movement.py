"""Operators that only move data: executed on the ids themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from edgeconv.conversion.passes.prune.graph import arguments, operator_name, shape_of
from edgeconv.conversion.passes.prune.twins import Twin, is_fixed
from edgeconv.conversion.passes.prune.walk import Walk, refuse

_EXECUTED = (
    "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "numpy_T", "movedim",
    "swapaxes", "expand", "broadcast_to", "squeeze", "unsqueeze", "stack", "chunk", "split",
    "split_with_sizes", "tensor_split", "unbind", "select", "narrow", "flatten", "unflatten",
    "repeat", "flip", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "repeat_interleave", "view_as",
)  # fmt: skip


def move(state: Walk, node: Node) -> Any:
    """Executes the operator on the ids of its operands."""
    operands = [state.twin(each) for each in node.all_input_nodes]
    if any(twin is None for twin in operands):
        return refuse(state, node, "has a shape that is only known at run time")
    twins = [twin for twin in operands if twin is not None]
    ids = map_arg((node.args, node.kwargs), lambda each: _ids(state, each))
    return _wrapped(state, node, twins, _execute(node, *ids))


def cat(state: Walk, node: Node) -> Any:
    """Concatenation; axes along which no operand varies are kept narrow."""
    given = arguments(node)
    twins = [twin for each in given["tensors"] if (twin := state.twin(each)) is not None]
    ndim = len(shape_of(node))
    axis = given["dim"] % ndim
    twins = [twin for twin in twins if len(twin.shape) == ndim]
    parts = [twin.ids for twin in twins]
    for other in range(ndim):
        if other != axis and all(part.stride(other) == 0 for part in parts):
            parts = [part.narrow(other, 0, 1) for part in parts]
    made = torch.cat(parts, dim=axis).expand(shape_of(node))
    return _wrapped(state, node, twins, made)


def cut_out(state: Walk, node: Node) -> Any:
    """A slice; with a step over channels it locks them."""
    given = arguments(node)
    twin = state.twin(given["self"])
    assert twin is not None
    axis = given["dim"] % len(twin.shape)
    if given["step"] != 1 and not twin.free and state.axis_of(twin, node) == axis:
        return refuse(state, node, "takes every n-th channel")
    return move(state, node)


def roll(state: Walk, node: Node) -> Any:
    """A roll; along channels it locks them."""
    given = arguments(node)
    twin = state.twin(given["self"])
    assert twin is not None
    rolled = [axis % len(twin.shape) for axis in given["dims"]] or range(len(twin.shape))
    if not is_fixed(twin.ids, state.channels) and state.axis_of(twin, node) in rolled:
        return refuse(state, node, "rolls over the channels")
    return twin


def glu(state: Walk, node: Node) -> Any:
    """A gated linear unit: one half of the channels gates the other."""
    given = arguments(node)
    twin = state.twin(given["self"])
    assert twin is not None
    left, right = twin.ids.chunk(2, dim=given["dim"])
    state.join(left.numpy(), right.numpy(), node)
    return Twin(left, zero=twin.zero)


def _ids(state: Walk, each: Node) -> torch.Tensor:
    twin = state.twin(each)
    assert twin is not None
    return twin.ids


def _execute(node: Node, args: Any, kwargs: Any) -> Any:
    name = operator_name(node)
    if name in ("aten.view", "aten._unsafe_view", "aten.reshape", "aten.view_as"):
        return args[0].reshape(shape_of(node))
    target: Any = node.target
    return target(*args, **kwargs)


def _wrapped(state: Walk, node: Node, operands: Sequence[Twin], made: Any) -> Any:
    zero = all(twin.zero for twin in operands)
    free = all(twin.free for twin in operands)

    def wrap(ids: torch.Tensor) -> Twin:
        twin = Twin(ids, zero=zero, free=free)
        if not free and not is_fixed(ids, state.channels) and state.axis_of(twin, node) is None:
            state.lock(twin, node, "takes a single channel out")
        return twin

    if isinstance(made, torch.Tensor):
        return wrap(made)
    return tuple(wrap(each) for each in made)


MOVEMENT_RULES: dict[str, Callable[[Walk, Node], Any]] = {
    **{f"aten.{name}": move for name in _EXECUTED},
    "aten.cat": cat,
    "aten.concat": cat,
    "aten.slice": cut_out,
    "aten.roll": roll,
    "aten.glu": glu,
}
