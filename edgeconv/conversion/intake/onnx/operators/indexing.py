"""Gathers, scatters and other indexing."""

from __future__ import annotations

import math

import numpy as np
import torch

from edgeconv.conversion.intake.onnx.call import Array, Call, Results, Value, normal_axis, operator


def _indices(call: Call, indices: Value, size: int) -> torch.Tensor:
    """Indices as int64, negative ones counted from the end."""
    if isinstance(indices, np.ndarray):
        return call.tensor(_places(call, indices, np.array(size)))
    computed = call.tensor(indices).to(torch.int64)
    return torch.where(computed < 0, computed + size, computed)


def _places(call: Call, indices: Array, sizes: Array) -> Array:
    """Constant indices counted from the front, as int64.

    Raises:
        EdgeconvError: OPERATOR_UNSUPPORTED for an index outside its axis, which the
            standard calls an error.
    """
    places = indices.astype(np.int64)
    outside = (places < -sizes) | (places >= sizes)
    if outside.any():
        size = int(np.broadcast_to(sizes, places.shape)[outside][0])
        raise call.refused(f"its index {places[outside][0]} lies outside an axis of {size}")
    return np.where(places < 0, places + sizes, places)


@operator("Gather", 1, 11, 13)
def gather(call: Call, x: Value, indices: Value) -> Results:
    """A constant index is a cut; a table of rows is an embedding."""
    value = call.tensor(x)
    axis = normal_axis(int(call.attr("axis")), value.ndim)
    size = value.shape[axis]
    if isinstance(indices, np.ndarray) and indices.size == 1 and indices.ndim <= 1:
        place = int(_places(call, indices, np.array(size)).reshape(()))
        if indices.ndim == 0:
            return torch.select(value, axis, place)
        return value.narrow(axis, place, 1)
    places = _indices(call, indices, size)
    if axis == 0 and value.ndim == 2 and isinstance(x, np.ndarray):
        return torch.nn.functional.embedding(places, value)
    flat = torch.index_select(value, axis, places.reshape(-1))
    return flat.reshape(*value.shape[:axis], *places.shape, *value.shape[axis + 1 :])


@operator("GatherElements", 11, 13)
def gather_elements(call: Call, x: Value, indices: Value) -> Results:
    value = call.tensor(x)
    axis = normal_axis(int(call.attr("axis")), value.ndim)
    return torch.gather(value, axis, _indices(call, indices, value.shape[axis]))


@operator("GatherND", 11, 12, 13)
def gather_nd(call: Call, x: Value, indices: Value) -> Results:
    """As one gather of rows: the leading axes flattened, the indices with them."""
    value = call.tensor(x)
    batch = int(call.attr("batch_dims", 0))
    given = np.shape(indices) if isinstance(indices, np.ndarray) else call.tensor(indices).shape
    depth = given[-1]
    lead, axes = tuple(value.shape[:batch]), tuple(value.shape[batch : batch + depth])
    rest, rows = tuple(value.shape[batch + depth :]), math.prod(axes)
    base = np.arange(math.prod(lead)) * rows
    flat = _flat_places(call, indices, axes)
    flat = flat + call.tensor(base.reshape(*lead, *(1,) * (flat.ndim - batch)))
    table = value.reshape(math.prod(lead) * rows, *rest)
    return torch.index_select(table, 0, flat.reshape(-1)).reshape(*given[:-1], *rest)


def _flat_places(call: Call, indices: Value, axes: tuple[int, ...]) -> torch.Tensor:
    """Index vectors, along the last axis, as places in the flattened axes."""
    sizes = np.array(axes, np.int64)
    strides = np.array([math.prod(axes[place + 1 :]) for place in range(len(axes))], np.int64)
    if isinstance(indices, np.ndarray):
        return call.tensor((_places(call, indices, sizes) * strides).sum(-1))
    computed = call.tensor(indices).to(torch.int64)
    computed = torch.where(computed < 0, computed + call.tensor(sizes), computed)
    return torch.sum(computed * call.tensor(strides), -1)


@operator("ScatterElements", 11, 13, 16, 18)
def scatter_elements(call: Call, x: Value, indices: Value, updates: Value) -> Results:
    value = call.tensor(x)
    axis = normal_axis(int(call.attr("axis")), value.ndim)
    _no_reduction(call)
    places = _indices(call, indices, value.shape[axis])
    return torch.scatter(value, axis, places, call.tensor(updates))


@operator("ScatterND", 11, 13, 16, 18)
def scatter_nd(call: Call, x: Value, indices: Value, updates: Value) -> Results:
    """Rows replaced at constant places: what stays and what is new side by side, gathered."""
    value = call.tensor(x)
    _no_reduction(call)
    given = call.constant(indices, "indices")
    depth = given.shape[-1]
    axes, rest = tuple(value.shape[:depth]), tuple(value.shape[depth:])
    places = _places(call, given, np.array(axes)).reshape(-1, depth)
    strides = np.array([math.prod(axes[place + 1 :]) for place in range(depth)], np.int64)
    flat = (places * strides).sum(-1)
    rows, count = math.prod(axes), places.shape[0]
    source = np.arange(rows)
    source[flat] = rows + np.arange(count)
    both = torch.cat([value.reshape(rows, *rest), call.tensor(updates).reshape(count, *rest)], 0)
    return torch.index_select(both, 0, call.tensor(source)).reshape(value.shape)


def _no_reduction(call: Call) -> None:
    if call.attr("reduction", "none") != "none":
        raise call.refused("it accumulates, which converters write as files that can't run")


@operator("OneHot", 9, 11, 28)
def one_hot(call: Call, indices: Value, depth: Value, values: Value) -> Results:
    """By comparison: an index out of range gives a row of off values."""
    size = call.length(int(call.number(depth, "depth")))
    off, on = call.constant(values, "values").reshape(2)
    places = call.tensor(indices).to(torch.int64)
    axis = normal_axis(int(call.attr("axis")), places.ndim + 1)
    places = torch.where(places < 0, places + size, places).unsqueeze(axis)
    shape = [1] * places.ndim
    shape[axis] = size
    hit = places == call.tensor(np.arange(size).reshape(shape))
    dtype = call.constant(values, "values").dtype
    return torch.where(hit, call.tensor(np.array(on, dtype)), call.tensor(np.array(off, dtype)))


@operator("Compress", 9, 11, 28)
def compress(call: Call, x: Value, condition: Value) -> Results:
    value = call.tensor(x)
    axis = call.attr("axis")
    places = np.flatnonzero(call.constant(condition, "condition"))
    value = value.reshape(-1) if axis is None else value
    return torch.index_select(value, int(axis or 0), call.tensor(places.astype(np.int64)))


@operator("ReverseSequence", 10, 28)
def reverse_sequence(call: Call, x: Value, lengths: Value) -> Results:
    """With constant lengths: a gather at places known now."""
    value = call.tensor(x)
    time, batch = int(call.attr("time_axis")), int(call.attr("batch_axis"))
    moved = value.movedim((batch, time), (0, 1))
    steps = np.arange(moved.shape[1])
    rows = [
        np.where(steps < length, length - 1 - steps, steps) + row * moved.shape[1]
        for row, length in enumerate(call.ints(lengths, "lengths"))
    ]
    flat = moved.reshape(-1, *moved.shape[2:])
    turned = torch.index_select(flat, 0, call.tensor(np.concatenate(rows)))
    return turned.reshape(moved.shape).movedim((0, 1), (batch, time))


@operator("GridSample", 16, 20, 22)
def grid_sample(call: Call, x: Value, grid: Value) -> Results:
    """In two dimensions; converters have no lowering for three."""
    value = call.tensor(x)
    if value.ndim != 4:
        raise call.refused(f"it reads a tensor of {value.ndim} axes; 4 are supported")
    mode = str(call.attr("mode"))
    names = {"linear": "bilinear", "cubic": "bicubic"}
    return torch.nn.functional.grid_sample(
        value,
        call.tensor(grid),
        mode=names.get(mode, mode),
        padding_mode=str(call.attr("padding_mode")),
        align_corners=bool(call.attr("align_corners")),
    )
