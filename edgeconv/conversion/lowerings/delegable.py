"""Operators that LiteRT has and its delegate does not, written with others that both have."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.conversion.tflite_file import add_constant, add_tensor, make_operator, operator_name


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
        if operator_name(model, operator) != "RELU_0_TO_1":
            operators.append(operator)
            continue
        if ceiling is None:
            ceiling = add_constant(model, np.array(1, np.float32), "unit_clamp/one")
        [source], [target] = map(list, (operator.inputs, operator.outputs))
        made = graph.tensors[target]
        between = add_tensor(model, made.shape, made.type, f"{made.name.decode()}:relu")
        graph.tensors[between].shapeSignature = made.shapeSignature
        least = schema.MaximumMinimumOptionsT()
        operators += [
            make_operator(model, "RELU", [source], between),
            make_operator(model, "MINIMUM", [between, ceiling], target, least),
        ]
        count += 1
    graph.operators = operators
    return count
