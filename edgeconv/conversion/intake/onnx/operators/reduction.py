"""Reductions over axes, places of extremes, cumulative sums, the largest k."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from edgeconv.conversion.intake.onnx.call import Call, Handler, Results, Value, operator

Reduction = Callable[[torch.Tensor, list[int], bool], torch.Tensor]


def _prod(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    for axis in sorted(axes, reverse=True):
        value = torch.prod(value, axis, keepdim=keep)
    return value


def _log_sum_exp(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    peak = torch.amax(value, axes, keepdim=True)
    total = torch.sum(torch.exp(value - peak), axes, keepdim=True)
    made = torch.log(total) + peak
    return made if keep else made.reshape([n for i, n in enumerate(value.shape) if i not in axes])


def _extreme(function: Callable[..., torch.Tensor]) -> Reduction:
    def reduced(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
        if value.dtype is torch.bool:
            return function(value.to(torch.int32), axes, keepdim=keep).to(torch.bool)
        return function(value, axes, keepdim=keep)

    return reduced


def _mean(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    if value.is_floating_point():
        return torch.mean(value, axes, keepdim=keep)
    count = int(np.prod([value.shape[axis] for axis in axes]))
    total = torch.sum(value, axes, keepdim=keep, dtype=value.dtype)
    return torch.div(total, count, rounding_mode="trunc")


def _sum(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return torch.sum(value, axes, keepdim=keep, dtype=value.dtype)


_REDUCTIONS: dict[str, tuple[Reduction, tuple[int, ...]]] = {
    "ReduceSum": (_sum, (1, 11, 13)),
    "ReduceMean": (_mean, (1, 11, 13, 18)),
    "ReduceMax": (_extreme(torch.amax), (1, 11, 12, 13, 18, 20)),
    "ReduceMin": (_extreme(torch.amin), (1, 11, 12, 13, 18, 20)),
    "ReduceProd": (_prod, (1, 11, 13, 18)),
    "ReduceL1": (lambda x, axes, keep: _sum(torch.abs(x), axes, keep), (1, 11, 13, 18)),
    "ReduceL2": (lambda x, axes, keep: torch.sqrt(_sum(x * x, axes, keep)), (1, 11, 13, 18)),
    "ReduceSumSquare": (lambda x, axes, keep: _sum(x * x, axes, keep), (1, 11, 13, 18)),
    "ReduceLogSum": (lambda x, axes, keep: torch.log(_sum(x, axes, keep)), (1, 11, 13, 18, 28)),
    "ReduceLogSumExp": (_log_sum_exp, (1, 11, 13, 18, 28)),
}


def _reduction(function: Reduction) -> Handler:
    def handler(call: Call, x: Value, axes: Value = None) -> torch.Tensor:
        value = call.tensor(x)
        given = call.parameter("axes", axes)
        keep, keep_all = bool(call.attr("keepdims")), bool(call.attr("noop_with_empty_axes", 0))
        if not given:
            if keep_all:
                # The elementwise part of the operator is still computed.
                return function(value.unsqueeze(-1), [value.ndim], False)
            given = list(range(value.ndim))
        if not value.ndim:
            return function(value.reshape(1), [0], False)
        return function(value, [axis % value.ndim for axis in given], keep)

    return handler


for _name, (_function, _versions) in _REDUCTIONS.items():
    operator(_name, *_versions)(_reduction(_function))


def _arg(function: Callable[..., torch.Tensor]) -> Handler:
    def handler(call: Call, x: Value) -> torch.Tensor:
        value = call.tensor(x)
        axis, keep = int(call.attr("axis")), bool(call.attr("keepdims"))
        if not call.attr("select_last_index", 0):
            return function(value, axis, keepdim=keep)
        last = value.shape[axis] - 1
        return last - function(torch.flip(value, [axis]), axis, keepdim=keep)

    return handler


operator("ArgMax", 1, 11, 12, 13)(_arg(torch.argmax))
operator("ArgMin", 1, 11, 12, 13)(_arg(torch.argmin))


@operator("CumSum", 11, 14)
def cumulative_sum(call: Call, x: Value, axis: Value) -> Results:
    value = call.tensor(x)
    place = int(call.number(axis, "axis")) % max(1, value.ndim)
    backwards = bool(call.attr("reverse"))
    value = torch.flip(value, [place]) if backwards else value
    made = torch.cumsum(value, place, dtype=value.dtype)
    if call.attr("exclusive"):
        zeros = torch.zeros_like(value.narrow(place, 0, 1))
        made = torch.cat([zeros, made.narrow(place, 0, value.shape[place] - 1)], place)
    return torch.flip(made, [place]) if backwards else made


@operator("TopK", 1, 10, 11, 24)
def top_k(call: Call, x: Value, k: Value = None) -> Results:
    """Sorted whatever `sorted` says: the standard leaves the other order open."""
    value = call.tensor(x)
    call.ignore("sorted")
    count = int(call.attr("k")) if call.version == 1 else int(call.number(k, "k"))
    largest = bool(call.attr("largest", 1))
    values, places = torch.topk(value, count, int(call.attr("axis")), largest, True)
    return values, places
