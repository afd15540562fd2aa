"""Small ONNX files for tests, from a few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

Declared = Mapping[str, tuple[str, Sequence[int | str]]]
"""Name → (numpy dtype, shape); a string in a shape leaves the axis open."""


def node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], name: str = "", **attributes: Any
) -> NodeProto:
    """One node; arrays among the attributes become tensors."""
    made = {
        key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for key, value in attributes.items()
    }
    return helper.make_node(operator, inputs, outputs, name=name or None, **made)


def write_graph(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: Declared,
    outputs: Declared,
    constants: Mapping[str, NDArray[Any]] | None = None,
    *,
    opset: int = 18,
) -> Path:
    """Writes a model of these nodes; constants become initializers."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [_value(name, *given) for name, given in inputs.items()],
        [_value(name, *given) for name, given in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(path))
    return path


def _value(name: str, dtype: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, code, list(shape))
