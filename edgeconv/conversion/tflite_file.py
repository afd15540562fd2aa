"""A TFLite file as Python objects: read, named, written back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeconv.recipe.signature import Signature, TensorSpec

_OPERATOR_NAMES: dict[int, str] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_TYPE_NAMES: dict[int, str] = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}
_ADDABLE = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32}
_IDENTIFIER = b"TFL3"
_INITIAL_BYTES = 1 << 20
_SHARED_ITEM_BYTES = 4


def read_tflite(content: bytes) -> Any:
    """The file's `ModelT`; the arrays in it are views of `content`.

    Quantizers put the constants of larger models behind the flatbuffer and only point to
    them there; here every buffer holds its own, so that nothing is lost in writing.
    """
    model = schema.ModelT.InitFromPackedBuf(content)
    for buffer in model.buffers:
        if buffer.size:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """Writes equal vectors of integers once: shapes, and zero points.

    The format wants a zero point for each channel of a weight and of a bias, of 8 bytes
    each, and nearly all of them are zeros: a fifth of a small quantized network's file.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray[Any, Any]) -> int:
        """See `flatbuffers.Builder`. Contents of buffers are bytes with an alignment."""
        if x.dtype.kind != "i" or x.dtype.itemsize < _SHARED_ITEM_BYTES:
            return int(super().CreateNumpyVector(x))
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = int(super().CreateNumpyVector(x))
        return self._written[key]


def write_tflite(model: Any, *, shared: bool = False) -> bytes:
    """The bytes of a `ModelT`.

    Args:
        shared: Equal vectors of integers stand in the file once.
    """
    builder = (_SharingBuilder if shared else flatbuffers.Builder)(_INITIAL_BYTES)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def operator_name(model: Any, operator: Any) -> str:
    """ "CONV_2D"; a custom operator by its own name, as "custom:NAME"."""
    code = model.operatorCodes[operator.opcodeIndex]
    kind = max(code.builtinCode, code.deprecatedBuiltinCode)
    if kind == schema.BuiltinOperator.CUSTOM:
        return f"custom:{text(code.customCode)}"
    return _OPERATOR_NAMES.get(kind, f"operator {kind}")


def operator_counts(model: Any) -> dict[str, int]:
    """Operator → how often it stands in the file, over all subgraphs."""
    return dict(
        Counter(
            operator_name(model, operator)
            for graph in model.subgraphs
            for operator in graph.operators
        )
    )


def tensor_type(tensor: Any) -> str:
    """The element type in lower case: "float32", "int8", …"""
    return _TYPE_NAMES[tensor.type]


def is_constant(model: Any, tensor: Any) -> bool:
    """Whether the tensor's values stand in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def text(name: bytes | str | None) -> str:
    """A name of the file as text."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name or ""


def rename_interface(model: Any, signature: Signature) -> None:
    """Gives the main subgraph's inputs and outputs the user's names, in place.

    The converter's own names are safe ones by position. Both the tensors and the
    signature get the user's names, the signature in the user's order; where one tensor is
    several outputs, or input and output, it keeps the name that came first.
    """
    graph = model.subgraphs[0]
    [entry] = [each for each in model.signatureDefs if each.subgraphIndex == 0]
    entry.inputs = _entries(signature.inputs, graph.inputs)
    entry.outputs = _entries(signature.outputs, graph.outputs)
    wanted: dict[int, str] = {}
    for mapping in (*entry.inputs, *entry.outputs):
        if mapping.name not in wanted.values():
            wanted.setdefault(mapping.tensorIndex, mapping.name)
    taken = set(wanted.values())
    for index, tensor in enumerate(graph.tensors):
        tensor.name = (wanted.get(index) or _free_name(text(tensor.name), taken)).encode()


def restore_float_interface(model: Any, signature: Signature) -> list[str]:
    """Puts a DEQUANTIZE behind each output that a quantizer left in integers, in place.

    Quantizers forget outputs that the graph itself reads as well.

    Returns:
        Names of the outputs that were in integers.
    """
    graph = model.subgraphs[0]
    restored = []
    # What is read from a file is a view of its bytes.
    graph.outputs = [int(index) for index in graph.outputs]
    for place, spec in enumerate(signature.outputs):
        given = graph.tensors[graph.outputs[place]]
        if spec.dtype != "float32" or given.quantization is None or tensor_type(given) != "int8":
            continue
        made = schema.TensorT()
        made.name, made.shape, made.buffer = f"{spec.name}:float".encode(), given.shape, 0
        made.type = schema.TensorType.FLOAT32
        graph.tensors.append(made)
        operator = schema.OperatorT()
        operator.opcodeIndex = operator_code(model, schema.BuiltinOperator.DEQUANTIZE)
        operator.inputs, operator.outputs = [graph.outputs[place]], [len(graph.tensors) - 1]
        graph.operators.append(operator)
        graph.outputs[place] = len(graph.tensors) - 1
        restored.append(spec.name)
    return restored


def operator_code(model: Any, kind: int) -> int:
    """The index of a built-in operator in the file's list, which it is put into if absent."""
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == kind:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = kind, 2
    code.deprecatedBuiltinCode = min(kind, 127)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def add_constant(model: Any, values: np.ndarray[Any, Any], name: str) -> int:
    """Puts a constant into the main subgraph and gives its index.

    Raises:
        KeyError: a type other than float32 or int32.
    """
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    index = add_tensor(model, values.shape, _ADDABLE[values.dtype.name], name)
    model.subgraphs[0].tensors[index].buffer = len(model.buffers) - 1
    return index


def add_tensor(model: Any, shape: Sequence[int], kind: int, name: str) -> int:
    """Puts a tensor that is computed into the main subgraph and gives its index."""
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = name.encode(), [int(n) for n in shape], kind
    tensors = model.subgraphs[0].tensors
    tensors.append(tensor)
    return len(tensors) - 1


def make_operator(
    model: Any, kind: str, inputs: Sequence[int], output: int, options: Any = None
) -> Any:
    """An operator by its built-in name, for the main subgraph; it is put nowhere yet.

    Args:
        options: The schema's own options of this operator, as `MaximumMinimumOptionsT()`.
    """
    operator = schema.OperatorT()
    operator.opcodeIndex = operator_code(model, getattr(schema.BuiltinOperator, kind))
    operator.inputs, operator.outputs = list(inputs), [output]
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = options
    return operator


def _entries(specs: Sequence[TensorSpec], indices: np.ndarray[Any, Any]) -> list[Any]:
    entries = []
    for spec, index in zip(specs, indices, strict=True):
        mapping = schema.TensorMapT()
        mapping.name, mapping.tensorIndex = spec.name, int(index)
        entries.append(mapping)
    return entries


def _free_name(name: str, taken: set[str]) -> str:
    # Tools find tensors by name, so that two of one name would be taken for each other.
    free, count = name, 0
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    taken.add(free)
    return free
