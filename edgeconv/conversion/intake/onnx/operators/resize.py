"""Resize and Upsample: exact, axis by axis, with places and weights known beforehand.

torch's own interpolation is used where it means the same, because converters have one
operator for it; elsewhere an axis is gathered (nearest) or multiplied by a matrix of
interpolation weights (linear, cubic, antialiased).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from edgeconv.conversion.intake.onnx.call import Array, Call, Results, Value, normal_axis, operator
from edgeconv.conversion.intake.sizes import is_too_large

_NEARLY = 1e-6


@dataclass(frozen=True)
class Axis:
    """One resized axis.

    Attributes:
        scale: Output over input, as the model says it.
        roi: Begin and end for tf_crop_and_resize, 0 to 1.
    """

    size: int
    out: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Manner:
    """How coordinates are turned into weights."""

    mode: str
    transform: str
    nearest: str
    cubic: float
    antialias: bool
    exclude_outside: bool
    extrapolation: float


@operator("Upsample", 7, 9, 10)
def upsample(call: Call, x: Value, scales: Value = None) -> Results:
    value = call.tensor(x)
    given = call.attr("scales")
    factors = given if given is not None else call.constant(scales, "scales").tolist()
    mode = str(call.attr("mode"))
    manner = Manner(mode, "asymmetric", "floor", -0.75, False, False, 0.0)
    axes = [_scaled(n, float(factor)) for n, factor in zip(value.shape, factors, strict=True)]
    return _resized(call, value, axes, manner)


@operator("Resize", 10, 11, 13, 18, 19)
def resize(
    call: Call, x: Value, roi: Value = None, scales: Value = None, sizes: Value = None
) -> Results:
    value = call.tensor(x)
    if call.version == 10:
        # In version 10 the second input is the scales.
        roi, scales = None, roi
    manner = _manner(call)
    axes = _axes(call, value, roi, scales, sizes)
    return _resized(call, value, axes, manner)


def _manner(call: Call) -> Manner:
    old = call.version == 10
    return Manner(
        mode=str(call.attr("mode")),
        transform="asymmetric" if old else str(call.attr("coordinate_transformation_mode")),
        nearest="floor" if old else str(call.attr("nearest_mode")),
        cubic=-0.75 if old else float(call.attr("cubic_coeff_a")),
        antialias=bool(call.attr("antialias", 0)),
        exclude_outside=bool(call.attr("exclude_outside", 0)),
        extrapolation=float(call.attr("extrapolation_value", 0.0)),
    )


def _scaled(size: int, scale: float) -> Axis:
    return Axis(size, int(np.floor(size * np.float32(scale))), float(np.float32(scale)))


def _axes(call: Call, value: torch.Tensor, roi: Value, scales: Value, sizes: Value) -> list[Axis]:
    places = [normal_axis(int(axis), value.ndim) for axis in call.attr("axes") or range(value.ndim)]
    axes = [Axis(size, size, 1.0) for size in value.shape]
    policy = str(call.attr("keep_aspect_ratio_policy", "stretch"))
    factors = [] if scales is None else call.constant(scales, "scales").reshape(-1).tolist()
    if factors:
        for place, factor in zip(places, factors, strict=True):
            axes[place] = _scaled(value.shape[place], float(factor))
    else:
        wanted = call.ints(sizes, "sizes")
        ratios = [out / value.shape[place] for place, out in zip(places, wanted, strict=True)]
        if policy != "stretch":
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            wanted = [int(np.floor(value.shape[place] * ratio + 0.5)) for place in places]
            ratios = [ratio] * len(places)
        for place, out, ratio in zip(places, wanted, ratios, strict=True):
            axes[place] = Axis(value.shape[place], out, ratio)
    if str(call.attr("coordinate_transformation_mode", "")) == "tf_crop_and_resize":
        corners = call.constant(roi, "roi").reshape(-1).tolist()
        for position, place in enumerate(places):
            given = (corners[position], corners[len(places) + position])
            axes[place] = Axis(axes[place].size, axes[place].out, axes[place].scale, given)
    return axes


def _resized(call: Call, value: torch.Tensor, axes: list[Axis], manner: Manner) -> torch.Tensor:
    changed = [place for place, axis in enumerate(axes) if _changes(axis, manner)]
    if not changed:
        return value
    for place in changed:
        call.length(axes[place].out)
    if is_too_large([axis.out for axis in axes], value.element_size()):
        raise call.refused(f"it makes a tensor {[axis.out for axis in axes]}")
    if manner.mode == "nearest":
        return _nearest(call, value, axes, changed, manner)
    if _torch_linear(value, axes, changed, manner):
        return functional.interpolate(
            value,
            size=[axes[2].out, axes[3].out],
            mode="bilinear",
            align_corners=manner.transform == "align_corners",
        )
    outside: list[tuple[int, Array]] = []
    for place in changed:
        weights = _weights(axes[place], manner)
        if manner.transform == "tf_crop_and_resize":
            where = _coordinates(axes[place], manner.transform)
            outside.append((place, (where < 0) | (where > axes[place].size - 1)))
        matrix = call.tensor(weights.astype(str(value.dtype).removeprefix("torch.")))
        value = functional.linear(value.movedim(place, -1), matrix).movedim(-1, place)
    return _extrapolated(call, value, outside, manner.extrapolation)


def _changes(axis: Axis, manner: Manner) -> bool:
    return axis.out != axis.size or (
        manner.transform == "tf_crop_and_resize" and axis.roi != (0.0, 1.0)
    )


def _torch_linear(
    value: torch.Tensor, axes: list[Axis], changed: list[int], manner: Manner
) -> bool:
    exact = all(axes[place].out == axes[place].size * axes[place].scale for place in changed)
    same = manner.transform in ("half_pixel", "align_corners") or (
        manner.transform == "pytorch_half_pixel" and all(axes[p].out > 1 for p in changed)
    )
    return (
        value.ndim == 4 and min(changed) >= 2 and manner.mode == "linear" and same and exact
        and not manner.antialias and not manner.exclude_outside
        and all(axes[place].out > 1 for place in (2, 3))
    )  # fmt: skip


def _nearest(
    call: Call, value: torch.Tensor, axes: list[Axis], changed: list[int], manner: Manner
) -> torch.Tensor:
    places = {place: _nearest_places(axes[place], manner) for place in changed}
    if value.ndim == 4 and min(changed) >= 2 and _repeats(axes, places):
        factors = [axes[place].out // axes[place].size for place in (2, 3)]
        return functional.interpolate(
            value, scale_factor=[float(each) for each in factors], mode="nearest"
        )
    outside: list[tuple[int, Array]] = []
    for place, indices in places.items():
        if manner.transform == "tf_crop_and_resize":
            where = _coordinates(axes[place], manner.transform, np.float32)
            outside.append((place, (where < 0) | (where > axes[place].size - 1)))
        value = torch.index_select(value, place, call.tensor(indices))
    return _extrapolated(call, value, outside, manner.extrapolation)


def _repeats(axes: list[Axis], places: dict[int, Array]) -> bool:
    """Whether each element is just repeated a whole number of times."""
    return all(
        axes[place].out % axes[place].size == 0
        and np.array_equal(
            indices, np.arange(axes[place].out) // (axes[place].out // axes[place].size)
        )
        for place, indices in places.items()
    )


def _coordinates(axis: Axis, transform: str, dtype: type[np.floating[Any]] = np.float64) -> Array:
    """Where each output element lies in the input, each step computed in `dtype`."""
    at = np.arange(axis.out, dtype=dtype)
    scale = dtype(axis.scale)
    if transform == "half_pixel" or (transform == "pytorch_half_pixel" and axis.out > 1):
        return (at + 0.5) / scale - 0.5
    if transform == "pytorch_half_pixel":
        return np.zeros(axis.out)
    if transform == "asymmetric":
        return np.asarray(at / scale)
    if transform == "align_corners":
        return np.zeros(1) if axis.out == 1 else at * (axis.size - 1) / (axis.out - 1)
    if transform == "tf_half_pixel_for_nn":
        return (at + 0.5) / scale
    if transform == "half_pixel_symmetric":
        offset = dtype(axis.size / 2) * (1 - dtype(axis.out) / (scale * dtype(axis.size)))
        # The runtime computes the rest of this one in float64.
        where: Array = offset + (at.astype(np.float64) + 0.5) / np.float64(scale) - 0.5
        return where
    begin, end = axis.roi
    if axis.out == 1:
        return np.array([0.5 * (begin + end) * (axis.size - 1)])
    return begin * (axis.size - 1) + at * (end - begin) * (axis.size - 1) / (axis.out - 1)


def _nearest_places(axis: Axis, manner: Manner) -> Array:
    # In float32 throughout, as the runtime computes it: a place that its rounding leaves
    # just below a whole number is another element.
    where = _coordinates(axis, manner.transform, np.float32).astype(np.float32)
    where = where.astype(np.float64)
    # What the rounding leaves next to a half is a half to the runtime as well.
    half = np.floor(where) + 0.5
    nearly = np.where(np.abs(where - half) < _NEARLY, half, where)
    rounded = {
        "floor": np.floor(where),
        "ceil": np.ceil(where),
        "round_prefer_floor": np.ceil(nearly - 0.5),
        "round_prefer_ceil": np.floor(nearly + 0.5),
    }[manner.nearest]
    return np.clip(rounded, 0, axis.size - 1).astype(np.int64)


def _weights(axis: Axis, manner: Manner) -> Array:
    """The matrix [out, size] of interpolation weights of an axis."""
    where = _coordinates(axis, manner.transform)
    stretch = max(1.0, 1.0 / axis.scale) if manner.antialias else 1.0
    reach = (1 if manner.mode == "linear" else 2) * stretch
    matrix = np.zeros((axis.out, axis.size))
    for row, centre in enumerate(where):
        first, last = int(np.floor(centre - reach)) + 1, int(np.ceil(centre + reach)) - 1
        if not manner.antialias:
            first = int(np.floor(centre)) - (0 if manner.mode == "linear" else 1)
            last = first + (1 if manner.mode == "linear" else 3)
        taps = np.arange(first, last + 1)
        weights = _kernel((taps - centre) / stretch, manner)
        if manner.exclude_outside:
            weights = np.where((taps >= 0) & (taps < axis.size), weights, 0.0)
        if manner.exclude_outside or manner.antialias:
            weights = weights / weights.sum()
        np.add.at(matrix[row], np.clip(taps, 0, axis.size - 1), weights)
    return matrix


def _kernel(distance: Array, manner: Manner) -> Array:
    d = np.abs(distance)
    if manner.mode == "linear":
        return np.maximum(0.0, 1.0 - d)
    a = manner.cubic
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _extrapolated(
    call: Call, value: torch.Tensor, outside: list[tuple[int, Array]], fill: float
) -> torch.Tensor:
    for place, mask in outside:
        if mask.any():
            shape = [1] * value.ndim
            shape[place] = len(mask)
            value = torch.where(call.tensor(mask.reshape(shape)), fill, value)
    return value
