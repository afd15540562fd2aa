"""Convolutions and transposed convolutions."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from edgeconv.conversion.intake.onnx.call import Array, Call, Results, Value, operator
from edgeconv.conversion.intake.onnx.windows import Window, read_window

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


@operator("Conv", 1, 11, 22)
def conv(call: Call, x: Value, w: Value, b: Value = None) -> Results:
    """Padding that torch can't say is written as a pad of zeros."""
    value, weights = call.tensor(x), call.tensor(w)
    call.ignore("kernel_shape")
    rank = _rank(call, value)
    window = read_window(call, tuple(value.shape[2:]), tuple(weights.shape[2:]))
    if window.symmetric:
        padding = window.begins
    else:
        value, padding = functional.pad(value, window.torch_pads()), (0,) * rank
    return _CONV[rank](
        value,
        weights,
        None if b is None else call.tensor(b),
        stride=window.strides,
        padding=padding,
        dilation=window.dilations,
        groups=int(call.attr("group")),
    )


@operator("ConvTranspose", 1, 11, 22)
def conv_transpose(call: Call, x: Value, w: Value, b: Value = None) -> Results:
    """Computed without padding and dilation, then cut or padded: converters refuse both."""
    value = call.tensor(x)
    rank = _rank(call, value)
    call.ignore("kernel_shape")
    weights = _dilated(call, w)
    strides = tuple(call.attr("strides") or (1,) * rank)
    sizes = tuple(value.shape[2:])
    full = [(n - 1) * s + k for n, s, k in zip(sizes, strides, weights.shape[2:], strict=True)]
    begins, ends = _transposed_pads(call, sizes, strides, full)
    cut_only = all(end >= 0 for end in ends) and all(begin >= 0 for begin in begins)
    bias = None if b is None else call.tensor(b)
    made = _CONV_TRANSPOSE[rank](
        value, weights, bias if cut_only else None, stride=strides,
        groups=int(call.attr("group")),
    )  # fmt: skip
    pads = [-each for begin, end in zip(begins, ends, strict=True) for each in (begin, end)]
    made = _cut_and_pad(made, pads)
    if bias is not None and not cut_only:
        made = made + bias.reshape(1, -1, *(1,) * rank)
    return made


def _rank(call: Call, value: torch.Tensor) -> int:
    rank = value.ndim - 2
    if rank not in _CONV:
        raise call.refused(f"it reads a tensor of {value.ndim} axes; 3 to 5 are supported")
    return rank


def _dilated(call: Call, w: Value) -> torch.Tensor:
    dilations = call.attr("dilations")
    if not dilations or all(each == 1 for each in dilations):
        return call.tensor(w)
    weights = call.constant(w, "weights, which are dilated,")
    kernel = weights.shape[2:]
    spread = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    wide: Array = np.zeros((*weights.shape[:2], *spread), weights.dtype)
    wide[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = weights
    return call.tensor(wide)


def _transposed_pads(
    call: Call, sizes: tuple[int, ...], strides: tuple[int, ...], full: list[int]
) -> tuple[list[int], list[int]]:
    """What is cut off at the begin and end of each axis; negative where zeros are added."""
    rank = len(sizes)
    extra = list(call.attr("output_padding") or [0] * rank)
    mode = call.attr("auto_pad") or "NOTSET"
    wanted = call.attr("output_shape")
    pads = list(call.attr("pads") or [0] * 2 * rank)
    if mode in ("SAME_UPPER", "SAME_LOWER") and not wanted:
        wanted = [n * s for n, s in zip(sizes, strides, strict=True)]
    if not wanted:
        if mode == "VALID":
            pads = [0] * 2 * rank
        ends = [pads[rank + axis] - extra[axis] for axis in range(rank)]
        return pads[:rank], ends
    begins, ends = [], []
    for axis in range(rank):
        total = full[axis] + extra[axis] - int(wanted[-rank:][axis])
        half = total // 2
        # More at the end for SAME_UPPER, more at the begin in the other modes.
        begin = half if mode == "SAME_UPPER" else total - half
        begins.append(begin)
        ends.append(total - begin - extra[axis])
    return begins, ends


def _cut_and_pad(value: torch.Tensor, pads: list[int]) -> torch.Tensor:
    """`pads` are pairs by spatial axis, first axis first; negative ones cut."""
    rank = len(pads) // 2
    for axis in range(rank):
        begin, end = pads[2 * axis], pads[2 * axis + 1]
        size = value.shape[2 + axis]
        start, length = max(0, -begin), size + min(0, begin) + min(0, end)
        if length != size:
            value = value.narrow(2 + axis, start, length)
    grown = [max(0, each) for each in pads]
    if not any(grown):
        return value
    backwards = [each for axis in range(rank)[::-1] for each in grown[2 * axis : 2 * axis + 2]]
    return functional.pad(value, backwards)


def window_elements(window: Window) -> int:
    """How many elements a window covers."""
    return math.prod(window.kernel)
