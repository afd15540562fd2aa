"""Operators that move elements and compute nothing: shapes, orders, copies, joins, cuts."""

from __future__ import annotations

import math

import numpy as np
import torch

from edgeconv.conversion.intake.onnx.call import Call, Results, Value, normal_axis, operator


@operator("Reshape", 5, 13, 14, 19, 21, 23, 24, 25)
def reshape(call: Call, x: Value, shape: Value) -> Results:
    """0 keeps an axis unless allowzero says otherwise; -1 is what is left."""
    value = call.tensor(x)
    sizes = call.ints(shape, "shape")
    if not call.attr("allowzero", 0):
        sizes = [value.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return value.reshape(sizes)


@operator("Flatten", 1, 9, 11, 13, 21, 23, 24, 25)
def flatten(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    axis = int(call.attr("axis"))
    axis = axis + value.ndim if axis < 0 else axis
    return value.reshape(math.prod(value.shape[:axis]), math.prod(value.shape[axis:]))


@operator("Squeeze", 1, 11, 13, 21, 23, 24, 25)
def squeeze(call: Call, x: Value, axes: Value = None) -> Results:
    value = call.tensor(x)
    given = call.parameter("axes", axes)
    if given is None:
        given = [axis for axis, size in enumerate(value.shape) if size == 1]
    gone = {normal_axis(axis, value.ndim) for axis in given}
    if any(value.shape[axis] != 1 for axis in gone):
        raise call.refused("it squeezes an axis that is not of size 1")
    return value.reshape([size for axis, size in enumerate(value.shape) if axis not in gone])


@operator("Unsqueeze", 1, 11, 13, 21, 23, 24, 25)
def unsqueeze(call: Call, x: Value, axes: Value = None) -> Results:
    value = call.tensor(x)
    given = call.parameter("axes", axes) or []
    rank = value.ndim + len(given)
    new = {normal_axis(axis, rank) for axis in given}
    if len(new) < len(given) or not new.issubset(range(rank)):
        raise call.refused(f"its axes {given[:12]} are not {len(given)} of a tensor of {rank} axes")
    sizes = iter(value.shape)
    return value.reshape([1 if axis in new else next(sizes) for axis in range(rank)])


@operator("Transpose", 1, 13, 21, 23, 24, 25)
def transpose(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    order = call.attr("perm")
    return value.permute(order if order is not None else list(range(value.ndim))[::-1])


@operator("Concat", 4, 11, 13)
def concat(call: Call, *values: Value) -> Results:
    return torch.cat([call.tensor(value) for value in values], int(call.attr("axis")))


@operator("Split", 2, 11, 13, 18)
def split(call: Call, x: Value, sizes: Value = None) -> Results:
    """Equal parts where no sizes are given; from version 18 the last may be smaller."""
    value = call.tensor(x)
    axis = normal_axis(int(call.attr("axis")), value.ndim)
    given = call.parameter("split", sizes)
    count = int(call.attr("num_outputs", 0) or len(call.node.outputs))
    if given is None:
        size = -(-value.shape[axis] // count)
        given = [size] * (count - 1)
        given.append(value.shape[axis] - sum(given))
    return torch.split(value, given, axis)


@operator("Slice", 1, 10, 11, 13)
def slice_(
    call: Call, x: Value, starts: Value = None, ends: Value = None, axes: Value = None,
    steps: Value = None,
) -> Results:  # fmt: skip
    """Bounds beyond the ends are clamped; a negative step goes backwards."""
    value = call.tensor(x)
    begins, stops = call.parameter("starts", starts), call.parameter("ends", ends)
    places = call.parameter("axes", axes)
    if begins is None or stops is None:
        raise call.refused("it has no starts or ends")
    strides = [1] * len(begins) if steps is None else call.ints(steps, "steps")
    for position, axis in enumerate(places or range(len(begins))):
        place = normal_axis(axis, value.ndim)
        span = _span(begins[position], stops[position], strides[position], value.shape[place])
        value = _cut(value, place, span)
    return value


def _span(start: int, stop: int, step: int, size: int) -> range:
    """The places that a slice takes, by the standard's rules for clamping."""
    start = start + size if start < 0 else start
    stop = stop + size if stop < 0 else stop
    if step > 0:
        return range(min(max(start, 0), size), min(max(stop, 0), size), step)
    return range(min(max(start, 0), size - 1), min(max(stop, -1), size - 1), step)


def _cut(value: torch.Tensor, axis: int, span: range) -> torch.Tensor:
    size = value.shape[axis]
    if span == range(size):
        return value
    if not span:
        return value.narrow(axis, 0, 0)
    if span.step > 0:
        cut = [slice(None)] * axis + [slice(span.start, span[-1] + 1, span.step)]
        return value[tuple(cut)]
    low = span[-1]
    turned = torch.flip(value.narrow(axis, low, span[0] - low + 1), [axis])
    return (
        turned
        if span.step == -1
        else turned[(slice(None),) * axis + (slice(None, None, -span.step),)]
    )


@operator("Expand", 8, 13)
def expand(call: Call, x: Value, shape: Value) -> Results:
    """Both sides broadcast."""
    value = call.tensor(x)
    return value.expand(np.broadcast_shapes(tuple(value.shape), tuple(call.ints(shape, "shape"))))


@operator("Tile", 6, 13)
def tile(call: Call, x: Value, repeats: Value) -> Results:
    return call.tensor(x).repeat(call.ints(repeats, "repeats"))


@operator("DepthToSpace", 1, 11, 13, 28)
def depth_to_space(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    n, c, h, w = value.shape
    size = int(call.attr("blocksize"))
    if call.attr("mode", "DCR") == "DCR":
        apart = value.reshape(n, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        apart = value.reshape(n, c // size**2, size, size, h, w).permute(0, 1, 4, 2, 5, 3)
    return apart.reshape(n, c // size**2, h * size, w * size)


@operator("SpaceToDepth", 1, 13, 28)
def space_to_depth(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    n, c, h, w = value.shape
    size = int(call.attr("blocksize"))
    apart = value.reshape(n, c, h // size, size, w // size, size)
    order = (0, 3, 5, 1, 2, 4) if call.attr("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    apart = apart.permute(order)
    return apart.reshape(n, c * size**2, h // size, w // size)


@operator("Trilu", 14)
def trilu(call: Call, x: Value, k: Value = None) -> Results:
    """By a mask that is known now: converters know no triangles."""
    value = call.tensor(x)
    diagonal = 0 if k is None else int(call.number(k, "k"))
    ones = np.ones(value.shape[-2:], np.bool_)
    kept = np.triu(ones, diagonal) if call.attr("upper") else np.tril(ones, diagonal)
    return torch.where(call.tensor(kept), value, torch.zeros_like(value))
