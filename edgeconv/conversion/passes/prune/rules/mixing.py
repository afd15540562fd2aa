"""Operators that mix positions along some axes: pools, reductions, softmax, padding.

Channels pass if they lie along another axis; along a mixed one they are locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.fx import Node

from edgeconv.conversion.passes.prune.graph import arguments, operator_name
from edgeconv.conversion.passes.prune.twins import Twin, is_fixed
from edgeconv.conversion.passes.prune.walk import Walk, blank, refuse

_REDUCTIONS = (
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean", "std_mean", "prod",
    "norm", "linalg_vector_norm", "logsumexp", "any", "all", "argmax", "argmin",
)  # fmt: skip
_ALONG = (
    "softmax", "_softmax", "log_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "topk",
    "index_select", "gather", "logcumsumexp",
)  # fmt: skip
_POOLS = (
    "max_pool", "avg_pool", "adaptive_avg_pool", "_adaptive_avg_pool", "adaptive_max_pool",
    "upsample_nearest", "_upsample_nearest_exact", "upsample_bilinear", "upsample_bicubic",
    "upsample_linear", "upsample_trilinear",
)  # fmt: skip
_ZERO_STAYS = frozenset({"mean", "sum", "amax", "amin", "max", "min", "cumsum"})


def mixes(state: Walk, node: Node, axes: Iterable[int], *, zero: bool) -> Any:
    """Passes channels of other axes; locks those that lie along the mixed ones."""
    twin = state.twin(node.args[0])
    if twin is None:
        return refuse(state, node, "takes something that is no tensor")
    axes = list(axes)
    if is_fixed(twin.ids, state.channels):
        return blank(node)
    axis = state.axis_of(twin, node)
    if axis is None or axis in axes:
        state.lock(twin, node, "mixes the channels themselves")
        return blank(node)
    ids = twin.ids
    for each in axes:
        ids = ids.narrow(each, 0, 1)
    made = [
        _fit(ids, axes, tuple(int(size) for size in value.shape), zero=zero)
        for value in _tensors(node.meta["val"])
    ]
    return made[0] if isinstance(node.meta["val"], torch.Tensor) else tuple(made)


def reduction(state: Walk, node: Node) -> Any:
    """A reduction over some axes, or over all."""
    given = arguments(node)
    ndim = node.args[0].meta["val"].ndim  # type: ignore[union-attr]
    axes = _axes(given.get("dim"), ndim)
    return mixes(state, node, axes, zero=_keeps_zero(state, node))


def along(state: Walk, node: Node) -> Any:
    """An operator that works along one axis, such as softmax."""
    ndim = node.args[0].meta["val"].ndim  # type: ignore[union-attr]
    axes = _axes(arguments(node)["dim"], ndim)
    return mixes(state, node, axes, zero=_keeps_zero(state, node))


def pool(axes: int) -> Callable[[Walk, Node], Any]:
    """A pool or an interpolation over the last axes."""

    def rule(state: Walk, node: Node) -> Any:
        ndim = node.args[0].meta["val"].ndim  # type: ignore[union-attr]
        twin = state.twin(node.args[0])
        return mixes(state, node, range(ndim - axes, ndim), zero=bool(twin and twin.zero))

    return rule


def pad(state: Walk, node: Node) -> Any:
    """Padding; channels padded with a constant are followed by fixed ones."""
    given = arguments(node)
    ndim = node.args[0].meta["val"].ndim  # type: ignore[union-attr]
    amounts = given["pad"]
    axes = [ndim - 1 - place // 2 for place, amount in enumerate(amounts) if amount]
    twin = state.twin(node.args[0])
    assert twin is not None
    value = given.get("value") or 0
    if not is_fixed(twin.ids, state.channels) and state.axis_of(twin, node) in axes:
        if given.get("mode", "constant") != "constant" or min(amounts) < 0:
            return refuse(state, node, "pads the channels from their neighbours")
        return Twin(torch.nn.functional.pad(twin.ids, amounts), zero=twin.zero and value == 0)
    return mixes(state, node, sorted(set(axes)), zero=twin.zero and value == 0)


def size(state: Walk, node: Node) -> Any:
    """The size of an axis as a number: channels along it are locked."""
    twin = state.twin(node.args[0])
    axis = arguments(node).get("dim")
    if twin and (axis is None or state.axis_of(twin, node) == axis % len(twin.shape)):
        state.lock(twin, node, "computes with their number")
    return None


def says_nothing(state: Walk, node: Node) -> Any:
    """A check at run time, without a result."""
    return None


def _fit(ids: torch.Tensor, axes: list[int], shape: tuple[int, ...], *, zero: bool) -> Twin:
    if ids.ndim != len(shape):
        for each in sorted(axes, reverse=True):
            ids = ids.squeeze(each)
    return Twin(ids.expand(shape), zero=zero)


def _tensors(value: Any) -> list[torch.Tensor]:
    return [value] if isinstance(value, torch.Tensor) else list(value)


def _axes(given: Any, ndim: int) -> list[int]:
    if given is None or given == []:
        return list(range(ndim))
    return [axis % ndim for axis in ([given] if isinstance(given, int) else given)]


def _keeps_zero(state: Walk, node: Node) -> bool:
    twin = state.twin(node.args[0])
    name = operator_name(node).removeprefix("aten.")
    return bool(twin and twin.zero) and name in _ZERO_STAYS


MIXING_RULES: dict[str, Callable[[Walk, Node], Any]] = {
    **{f"aten.{name}": reduction for name in _REDUCTIONS},
    **{f"aten.{name}": along for name in _ALONG},
    **{f"aten.{name}{axes}d": pool(axes) for name in _POOLS for axes in (1, 2, 3)},
    "aten.max_pool2d_with_indices": pool(2),
    "aten.pad": pad,
    "aten.constant_pad_nd": pad,
    "aten.sym_size": size,
    "aten.size": size,
    "aten._assert_tensor_metadata": says_nothing,
    "aten._assert_async": says_nothing,
}
