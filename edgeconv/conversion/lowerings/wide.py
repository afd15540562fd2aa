"""64-bit integers in TFLite files: what the converter narrows to 32 bits, and its repair.

litert-torch computes int64 products, quotients and the like between casts to int32 and
back, so that 2⁴⁰·3 becomes 0 without a word. LiteRT multiplies int64 itself: there the
casts are taken away. The others are said.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from torch.export import ExportedProgram

from edgeconv.conversion.tflite_file import is_constant, operator_name, tensor_type
from edgeconv.recipe.signature import Signature
from edgeconv.results.effect import Note

_WIDE = ("int64", "float64")
_MUL_INT64_VERSION = 6
_INT32 = torch.iinfo(torch.int32)


def is_wide(exported: ExportedProgram, signature: Signature) -> bool:
    """Whether the program needs 64 bits: at its interface, or for a constant."""
    if any(spec.dtype in _WIDE for spec in (*signature.inputs, *signature.outputs)):
        return True
    return any(
        tensor.dtype is torch.int64
        and tensor.numel() > 0
        and not (_INT32.min <= int(tensor.min()) and int(tensor.max()) <= _INT32.max)
        for tensor in (*exported.state_dict.values(), *exported.constants.values())
        if isinstance(tensor, torch.Tensor)
    )


def narrows_itself(exported: ExportedProgram) -> bool:
    """Whether the program casts integers to int32, so that narrow products may be meant."""
    return any(
        isinstance(value := node.meta.get("val"), torch.Tensor)
        and value.dtype is torch.int32
        and any(
            isinstance(given := each.meta.get("val"), torch.Tensor) and given.dtype is torch.int64
            for each in node.all_input_nodes
        )
        for node in exported.graph.nodes
        if node.op == "call_function"
    )


def widen_products(model: Any) -> int:
    """Lets products between casts multiply int64 itself, in place; how many there were."""
    graph = model.subgraphs[0]
    makers = {int(i): operator for operator in graph.operators for i in operator.outputs}
    widened = 0
    for operator in graph.operators:
        if operator_name(model, operator) != "MUL":
            continue
        product = graph.tensors[operator.outputs[0]]
        readers = [o for o in graph.operators if int(operator.outputs[0]) in map(int, o.inputs)]
        if tensor_type(product) != "int32" or not readers:
            continue
        if not all(_casts(model, graph, reader, "int32", "int64") for reader in readers):
            continue
        wide = [_wide_operand(model, graph, makers, int(index)) for index in operator.inputs]
        if None in wide:
            continue
        operator.inputs = [index for index in wide if index is not None]
        product.type = schema.TensorType.INT64
        model.operatorCodes[operator.opcodeIndex].version = max(
            model.operatorCodes[operator.opcodeIndex].version, _MUL_INT64_VERSION
        )
        for reader in readers:
            if reader.builtinOptions is not None:
                reader.builtinOptions.inDataType = schema.TensorType.INT64
        widened += 1
    return widened


def narrow_notes(model: Any) -> list[Note]:
    """A note for each kind of operator that computes int64 values in 32 bits."""
    graph = model.subgraphs[0]
    narrowed = {
        int(operator.outputs[0])
        for operator in graph.operators
        if operator_name(model, operator) == "CAST"
        and _casts(model, graph, operator, "int64", "int32")
    }
    kinds = Counter(
        operator_name(model, operator)
        for operator in graph.operators
        if any(int(index) in narrowed for index in operator.inputs)
    )
    kinds.pop("CAST", None)
    return [
        Note(
            kind="flagged",
            subject=kind,
            message=f"{count} of them {'takes' if count == 1 else 'take'} int64 values in 32 bits:"
            " what lies beyond ±2³¹ wraps.",
        )
        for kind, count in sorted(kinds.items())
    ]


def _casts(model: Any, graph: Any, operator: Any, given: str, made: str) -> bool:
    return (
        operator_name(model, operator) == "CAST"
        and tensor_type(graph.tensors[operator.inputs[0]]) == given
        and tensor_type(graph.tensors[operator.outputs[0]]) == made
    )


def _wide_operand(model: Any, graph: Any, makers: dict[int, Any], index: int) -> int | None:
    maker = makers.get(index)
    if maker is not None and _casts(model, graph, maker, "int64", "int32"):
        return int(maker.inputs[0])
    tensor = graph.tensors[index]
    if maker is None and is_constant(model, tensor):
        values = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int32)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.astype(np.int64).tobytes(), np.uint8)
        model.buffers.append(buffer)
        wide = schema.TensorT()
        wide.name, wide.shape = tensor.name + b":int64", tensor.shape
        wide.type, wide.buffer = schema.TensorType.INT64, len(model.buffers) - 1
        graph.tensors.append(wide)
        return len(graph.tensors) - 1
    return None
