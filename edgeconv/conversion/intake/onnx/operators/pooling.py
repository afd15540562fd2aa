"""Pools over windows and over whole planes."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch.nn import functional

from edgeconv.conversion.intake.onnx.call import Array, Call, Results, Value, operator
from edgeconv.conversion.intake.onnx.windows import Window, read_window

_MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _window(call: Call, value: torch.Tensor) -> Window:
    kernel = tuple(int(each) for each in call.attr("kernel_shape"))
    if value.ndim - 2 not in _MAX:
        raise call.refused(f"it reads a tensor of {value.ndim} axes; 3 to 5 are supported")
    return read_window(call, tuple(value.shape[2:]), kernel)


def _torch_says(window: Window) -> bool:
    """Whether torch's own padding means the same."""
    within = all(2 * pad <= k for pad, k in zip(window.begins, window.kernel, strict=True))
    return window.symmetric and within and not window.ceil


def _padded(value: torch.Tensor, window: Window, fill: float) -> torch.Tensor:
    """Padded so that exactly all windows fit; a rest that no window reaches is cut."""
    pairs = zip(reversed(window.begins), reversed(window.full_ends()), strict=True)
    pads = [each for pair in pairs for each in pair]
    return functional.pad(value, pads, value=fill) if any(pads) else value


@operator("MaxPool", 1, 8, 10, 11, 12, 22)
def max_pool(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    window = _window(call, value)
    column_major = bool(call.attr("storage_order", 0))
    if call.wants(1):
        return _max_pool_with_indices(call, value, window, column_major)
    pool = _MAX[len(window.kernel)]
    if _torch_says(window):
        made: torch.Tensor = pool(
            value, window.kernel, window.strides, window.begins, window.dilations
        )
        return made
    lowest = _lowest(value)
    made = pool(_padded(value, window, lowest), window.kernel, window.strides, 0, window.dilations)
    return made


def _lowest(value: torch.Tensor) -> float:
    # Not −inf: converters turn that into the lowest number in some places only.
    info = torch.finfo(value.dtype) if value.is_floating_point() else torch.iinfo(value.dtype)
    return info.min


def _max_pool_with_indices(
    call: Call, value: torch.Tensor, window: Window, column_major: bool
) -> Results:
    """Values and places in the flattened input: all shifts side by side, then argmax.

    Converters give zeros for the indices of torch's own operator.
    """
    padded = _padded(value, window, _lowest(value))
    shifts = torch.stack([_shifted(padded, window, at) for at in _offsets(window)], -1)
    best = torch.argmax(shifts, -1, keepdim=True)
    places = call.tensor(_places(window, tuple(value.shape[:2]), column_major))
    where = torch.gather(places.expand(*shifts.shape[:-1], places.shape[-1]), -1, best)
    return torch.amax(shifts, -1), where.squeeze(-1)


def _offsets(window: Window) -> list[tuple[int, ...]]:
    steps = [range(0, k * d, d) for k, d in zip(window.kernel, window.dilations, strict=True)]
    return list(itertools.product(*steps))


def _shifted(padded: torch.Tensor, window: Window, offset: tuple[int, ...]) -> torch.Tensor:
    cut = [
        slice(at, at + (out - 1) * stride + 1, stride)
        for at, out, stride in zip(offset, window.out_sizes, window.strides, strict=True)
    ]
    return padded[(slice(None), slice(None), *cut)]


def _places(window: Window, planes: tuple[int, ...], column_major: bool) -> Array:
    """Flat input index of every element of every window: [N, C, *out, window]."""
    count = int(np.prod(window.sizes))
    plain = np.arange(count)
    grid = plain.reshape(window.sizes[::-1]).T if column_major else plain.reshape(window.sizes)
    pads = [
        (begin, max(0, end)) for begin, end in zip(window.begins, window.full_ends(), strict=True)
    ]
    wide = np.pad(grid, pads)
    per_plane = np.stack(
        [
            wide[
                tuple(
                    slice(at, at + (out - 1) * s + 1, s)
                    for at, out, s in zip(offset, window.out_sizes, window.strides, strict=True)
                )
            ]
            for offset in _offsets(window)
        ],
        -1,
    )
    base = np.arange(int(np.prod(planes))).reshape(*planes, *(1,) * per_plane.ndim) * count
    return np.ascontiguousarray(base + per_plane).astype(np.int64)


@operator("AveragePool", 1, 7, 10, 11, 19, 22)
def average_pool(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    window = _window(call, value)
    whole = bool(call.attr("count_include_pad", 0))
    pool = _AVERAGE[len(window.kernel)]
    dilated = any(each != 1 for each in window.dilations)
    no_pads = not any(window.begins) and not any(window.ends)
    if not dilated and _torch_says(window):
        made: torch.Tensor = pool(
            value, window.kernel, window.strides, window.begins,
            count_include_pad=whole or no_pads,
        )  # fmt: skip
        return made
    padded = _padded(value, window, 0.0)
    counts = _counts(window, whole).astype(_numpy_name(value))
    total = (
        sum(
            (_shifted(padded, window, at) for at in _offsets(window)[1:]),
            _shifted(padded, window, _offsets(window)[0]),
        )
        if dilated
        else pool(padded, window.kernel, window.strides) * float(np.prod(window.kernel))
    )
    return total / call.tensor(counts)


def _numpy_name(value: torch.Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _counts(window: Window, whole: bool) -> Array:
    """How many elements each window's mean is over: [1, 1, *out]."""
    inside = np.ones(window.sizes)
    ends = window.full_ends()
    if whole:
        # Declared padding counts; what ceil_mode reaches beyond it does not.
        inside = np.pad(inside, list(zip(window.begins, window.ends, strict=True)),
                        constant_values=1)  # fmt: skip
        more = [(0, max(0, end - given)) for end, given in zip(ends, window.ends, strict=True)]
    else:
        more = [(begin, max(0, end)) for begin, end in zip(window.begins, ends, strict=True)]
    inside = np.pad(inside, more)
    counts = np.zeros(window.out_sizes)
    for offset in _offsets(window):
        counts += inside[
            tuple(
                slice(at, at + (out - 1) * s + 1, s)
                for at, out, s in zip(offset, window.out_sizes, window.strides, strict=True)
            )
        ]
    return counts[None, None]


@operator("LpPool", 2, 11, 18, 22)
def lp_pool(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    window = _window(call, value)
    order = float(call.attr("p"))
    powers = torch.pow(torch.abs(value), order)
    padded = _padded(powers, window, 0.0)
    total = _shifted(padded, window, _offsets(window)[0])
    for offset in _offsets(window)[1:]:
        total = total + _shifted(padded, window, offset)
    return torch.pow(total, 1 / order)


def _planes(value: torch.Tensor) -> list[int]:
    return list(range(2, value.ndim))


@operator("GlobalAveragePool", 1, 22)
def global_average_pool(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    return torch.mean(value, _planes(value), keepdim=True)


@operator("GlobalMaxPool", 1, 22)
def global_max_pool(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    return torch.amax(value, _planes(value), keepdim=True)


@operator("GlobalLpPool", 2, 22)
def global_lp_pool(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    order = float(call.attr("p"))
    total = torch.sum(torch.pow(torch.abs(value), order), _planes(value), keepdim=True)
    return torch.pow(total, 1 / order)
