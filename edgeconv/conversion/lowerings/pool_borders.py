"""Borders around maximum pools: copies of the tensor's own edge in place of the lowest float.

TFLite's pools know no padding but SAME, so converters put the lowest float around the
input with a PADV2, which XNNPACK does not take: the graph runs in one part more for each.
The maximum over a window stays the same when what it finds outside is a copy of an element
that it holds anyway, and copying is taken, in floats and in 8 bits.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.conversion.tflite_file import (
    add_constant,
    add_tensor,
    is_constant,
    make_operator,
    operator_name,
    tensor_type,
    text,
)

_ROWS_AND_COLUMNS = (1, 2)
_LOWEST = float(np.finfo(np.float32).min)
Border = tuple[int, int]


def copy_pool_borders(model: Any) -> int:
    """Writes PADV2 of the lowest float before MAX_POOL_2D as SLICE and CONCATENATION, in place.

    Only where every window that reaches outside holds the edge's element too.

    Returns:
        How many there were.
    """
    graph = model.subgraphs[0]
    readers = Counter(int(index) for each in graph.operators for index in each.inputs)
    readers.update(int(index) for index in graph.outputs)
    pads = {int(each.outputs[0]): each for each in graph.operators if _pads_lowest(model, each)}
    operators: list[Any] = []
    count = 0
    for operator in graph.operators:
        pad = pads.get(int(operator.inputs[0])) if len(operator.inputs) else None
        if pad is not None and readers[int(pad.outputs[0])] == 1:
            borders = _borders(model, pad, operator)
            if borders is not None:
                operators = [each for each in operators if each is not pad]
                operators += _copies(model, int(pad.inputs[0]), borders, operator)
                count += 1
        operators.append(operator)
    graph.operators = operators
    return count


def _pads_lowest(model: Any, operator: Any) -> bool:
    if operator_name(model, operator) != "PADV2":
        return False
    _, amounts, value = (model.subgraphs[0].tensors[int(index)] for index in operator.inputs)
    if tensor_type(value) != "float32" or not is_constant(model, amounts):
        return False
    return is_constant(model, value) and bool(_values(model, value, np.float32)[0] <= _LOWEST)


def _values(model: Any, tensor: Any, dtype: Any) -> Any:
    return np.frombuffer(bytes(model.buffers[tensor.buffer].data), dtype)


def _borders(model: Any, pad: Any, pool: Any) -> tuple[Border, ...] | None:
    """Rows and columns that the windows need before and after; None where copies won't do."""
    options = pool.builtinOptions
    if operator_name(model, pool) != "MAX_POOL_2D" or options.padding != schema.Padding.VALID:
        return None
    tensors = model.subgraphs[0].tensors
    source, amounts = (tensors[int(index)] for index in pad.inputs[:2])
    kind = np.int64 if tensor_type(amounts) == "int64" else np.int32
    pairs = _values(model, amounts, kind).reshape(-1, 2)
    if len(pairs) != 4 or pairs[[0, 3]].any() or (pairs < 0).any():
        return None
    made = tensors[int(pool.outputs[0])].shape
    windows = ((options.filterHeight, options.strideH), (options.filterWidth, options.strideW))
    borders = []
    for axis, (length, stride) in zip(_ROWS_AND_COLUMNS, windows, strict=True):
        before, size = int(pairs[axis][0]), int(source.shape[axis])
        last = (int(made[axis]) - 1) * stride - before
        if before >= length or last >= size:
            return None
        borders.append((before, max(0, last + length - size)))
    return tuple(borders)


def _copies(model: Any, source: int, borders: tuple[Border, ...], pool: Any) -> list[Any]:
    """The operators that put borders around the tensor; the pool is made to read them."""
    tensors = model.subgraphs[0].tensors
    operators: list[Any] = []
    for axis, (before, after) in zip(_ROWS_AND_COLUMNS, borders, strict=True):
        if not before and not after:
            continue
        name = f"{text(tensors[source].name)}:border{axis}"
        shape = [int(size) for size in tensors[source].shape]
        row = [*shape[:axis], 1, *shape[axis + 1 :]]
        edges = []
        for place, wanted in ((0, before), (shape[axis] - 1, after)):
            if wanted:
                begin = np.array([place if at == axis else 0 for at in range(4)], np.int32)
                cut = [
                    source,
                    add_constant(model, begin, f"{name}:begin{place}"),
                    add_constant(model, np.array(row, np.int32), f"{name}:size{place}"),
                ]
                edge = add_tensor(model, row, schema.TensorType.FLOAT32, f"{name}:edge{place}")
                operators.append(make_operator(model, "SLICE", cut, edge, schema.SliceOptionsT()))
            edges.append([edge] * wanted if wanted else [])
        shape[axis] += before + after
        joined = add_tensor(model, shape, schema.TensorType.FLOAT32, name)
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        parts = [*edges[0], source, *edges[1]]
        operators.append(make_operator(model, "CONCATENATION", parts, joined, options))
        source = joined
    pool.inputs = [source]
    return operators
