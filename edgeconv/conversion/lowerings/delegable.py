"""Operators that LiteRT has and its delegate does not, written with others that both have."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.conversion.tflite_file import operator_code, operator_name


def split_unit_clamps(model: Any) -> int:
    """Writes RELU_0_TO_1 as RELU and MINIMUM with 1, in place; how many there were.

    Each one would end a part of the graph that XNNPACK takes: a network with nine
    hard-sigmoid gates runs in ten parts with them, in one without.
    """
    graph = model.subgraphs[0]
    operators: list[Any] = []
    ceiling: int | None = None
    count = 0
    for operator in graph.operators:
        operators.append(operator)
        if operator_name(model, operator) != "RELU_0_TO_1":
            continue
        if ceiling is None:
            ceiling = _add_one(model, graph)
        made = graph.tensors[operator.outputs[0]]
        between = schema.TensorT()
        between.name, between.shape = made.name + b":relu", made.shape
        between.shapeSignature, between.type = made.shapeSignature, made.type
        graph.tensors.append(between)
        minimum = schema.OperatorT()
        minimum.opcodeIndex = operator_code(model, schema.BuiltinOperator.MINIMUM)
        minimum.builtinOptionsType = schema.BuiltinOptions.MaximumMinimumOptions
        minimum.builtinOptions = schema.MaximumMinimumOptionsT()
        minimum.inputs = [len(graph.tensors) - 1, ceiling]
        minimum.outputs = [int(operator.outputs[0])]
        operator.opcodeIndex = operator_code(model, schema.BuiltinOperator.RELU)
        operator.outputs = [len(graph.tensors) - 1]
        operators.append(minimum)
        count += 1
    graph.operators = operators
    return count


def _add_one(model: Any, graph: Any) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.float32(1).tobytes(), np.uint8)
    model.buffers.append(buffer)
    one = schema.TensorT()
    one.name, one.shape, one.buffer = b"unit_clamp/one", [], len(model.buffers) - 1
    one.type = schema.TensorType.FLOAT32
    graph.tensors.append(one)
    return len(graph.tensors) - 1
