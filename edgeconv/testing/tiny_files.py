"""Tiny ONNX and TFLite files for tests, written in milliseconds without a converter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def dense_weights(
    features: int, classes: int, *, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [classes, features] and bias [classes] of the dense layer in the files."""
    rng = np.random.default_rng(seed)
    scale = 1.0 / np.sqrt(features)
    weights = (rng.standard_normal((classes, features)) * scale).astype(np.float32)
    return weights, rng.standard_normal(classes).astype(np.float32)


def dense_outputs(
    inputs: NDArray[np.float32], *, classes: int, seed: int = 0
) -> NDArray[np.float32]:
    """What the files compute: relu(inputs · weightsᵀ + bias), float32 of [rows, classes]."""
    weights, bias = dense_weights(inputs.shape[1], classes, seed=seed)
    result: NDArray[np.float32] = np.maximum(inputs @ weights.T + bias, 0).astype(np.float32)
    return result


def write_dense_onnx(
    path: Path, *, features: int = 64, classes: int = 10, seed: int = 0, rows: int | str = 1
) -> Path:
    """An ONNX file: one dense layer and a relu, input `in/put:0`, output `scores`.

    A string for `rows` leaves the first axis open under that name.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights, bias = dense_weights(features, classes, seed=seed)
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["in/put:0", "weights", "bias"], ["sum"], transB=1),
            helper.make_node("Relu", ["sum"], ["scores"]),
        ],
        "dense",
        [helper.make_tensor_value_info("in/put:0", TensorProto.FLOAT, [rows, features])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [rows, classes])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(path))
    return path


def write_dense_tflite(
    path: Path, *, features: int = 64, classes: int = 10, seed: int = 0, signature: bool = True
) -> Path:
    """A TFLite file: one dense layer with a relu, input `in/put:0`, output `scores`.

    Its tensors are called `tensor_in` and `tensor_out_0`; the user's names stand in the
    signature only.
    """
    names = ("scores",) if signature else ()
    return _write_tflite(path, [dense_weights(features, classes, seed=seed)], names)


def write_many_outputs_tflite(path: Path, *, outputs: int = 12, features: int = 8) -> Path:
    """A TFLite file with outputs `output_0`, `output_1`, …; number k is a dense layer of seed k.

    Alphabetically `output_10` comes before `output_2`, which is how runtimes list the
    names of a signature.
    """
    layers = [dense_weights(features, 3, seed=seed) for seed in range(outputs)]
    return _write_tflite(path, layers, [f"output_{place}" for place in range(outputs)])


_Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


def _write_tflite(path: Path, layers: Sequence[_Layer], names: Sequence[str]) -> Path:
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT()
    model.version = 3
    model.description = b"dense"
    model.buffers = [schema.BufferT()]
    for array in (array for layer in layers for array in layer):
        model.buffers.append(schema.BufferT())
        model.buffers[-1].data = np.frombuffer(array.tobytes(), np.uint8)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model.operatorCodes = [code]
    model.subgraphs = [_dense_subgraph(schema, layers)]
    if names:
        model.signatureDefs = [_signature(schema, names)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _dense_subgraph(schema: Any, layers: Sequence[_Layer]) -> Any:
    """Tensor 0 is the input; then weights, bias and output of each layer."""
    graph = schema.SubGraphT()
    graph.name = b"main"
    graph.tensors = [_float_tensor(schema, "tensor_in", (1, layers[0][0].shape[1]), 0)]
    graph.inputs, graph.outputs, graph.operators = [0], [], []
    for place, (weights, bias) in enumerate(layers):
        first = len(graph.tensors)
        graph.tensors += [
            _float_tensor(schema, f"weights_{place}", weights.shape, 2 * place + 1),
            _float_tensor(schema, f"bias_{place}", bias.shape, 2 * place + 2),
            _float_tensor(schema, f"tensor_out_{place}", (1, len(bias)), 0),
        ]
        graph.outputs.append(first + 2)
        graph.operators.append(_dense_operator(schema, [0, first, first + 1], first + 2))
    return graph


def _dense_operator(schema: Any, inputs: list[int], output: int) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs, operator.outputs = inputs, [output]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    return operator


def _float_tensor(schema: Any, name: str, shape: tuple[int, ...], buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.name = name.encode()
    tensor.shape = list(shape)
    tensor.type = schema.TensorType.FLOAT32
    tensor.buffer = buffer
    return tensor


def _signature(schema: Any, outputs: Sequence[str]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey = b"serving_default"
    signature.subgraphIndex = 0
    signature.inputs = [_named(schema, "in/put:0", 0)]
    # Sorted, as the files of converters have them.
    signature.outputs = [
        _named(schema, name, 3 * outputs.index(name) + 3) for name in sorted(outputs)
    ]
    return signature


def _named(schema: Any, name: str, tensor: int) -> Any:
    mapping = schema.TensorMapT()
    mapping.name = name.encode()
    mapping.tensorIndex = tensor
    return mapping
