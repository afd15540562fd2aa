"""Pads: constants around a tensor, or copies of its own elements."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from edgeconv.conversion.intake.onnx.call import Call, Results, Value, normal_axis, operator

_NUMPY_MODE = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


@operator("Pad", 2, 11, 13, 18, 19, 21, 23, 24, 25)
def pad(
    call: Call, x: Value, pads: Value = None, fill: Value = None, axes: Value = None
) -> Results:
    """Negative pads cut. Pads are an attribute before version 11."""
    value = call.tensor(x)
    mode = str(call.attr("mode"))
    amounts = call.parameter("pads", pads) or []
    number = _fill(call, fill)
    pairs = _pairs(call, amounts, axes, value.ndim)
    if mode == "constant":
        backwards = [each for pair in reversed(pairs) for each in pair]
        return functional.pad(value, backwards, value=number) if any(backwards) else value
    if mode not in _NUMPY_MODE:
        raise call.refused(f"its mode is {mode!r}")
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            value = _copied(call, value, axis, before, after, mode)
    return value


def _fill(call: Call, fill: Value) -> float:
    if call.version == 2:
        return float(call.attr("value"))
    return 0.0 if fill is None else call.number(fill, "constant_value")


def _pairs(call: Call, amounts: list[int], axes: Value, rank: int) -> list[tuple[int, int]]:
    places = list(range(rank)) if axes is None else call.ints(axes, "axes")
    count = len(places)
    if len(amounts) != 2 * count:
        raise call.refused(f"it has {len(amounts)} pads for {count} axes")
    pairs = [(0, 0)] * rank
    for position, axis in enumerate(places):
        pairs[normal_axis(axis, rank)] = (amounts[position], amounts[count + position])
    return pairs


def _copied(
    call: Call, value: torch.Tensor, axis: int, before: int, after: int, mode: str
) -> torch.Tensor:
    """One axis padded with elements of its own: a gather at places known now."""
    size = value.shape[axis]
    places = np.arange(size)[max(0, -before) : size - max(0, -after)]
    grown = (max(0, before), max(0, after))
    call.length(size + sum(grown))
    places = np.pad(places, grown, mode=_NUMPY_MODE[mode])  # type: ignore[call-overload]
    last = axis == value.ndim - 1 and value.ndim in (2, 3)
    if mode == "reflect" and last and 0 <= min(before, after) <= max(before, after) < size:
        return functional.pad(value, [before, after], mode="reflect")
    return torch.index_select(value, axis, call.tensor(places.astype(np.int64)))
