"""Tiny ONNX and TFLite files for tests, written in milliseconds without a converter."""

from __future__ import annotations

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

    Its tensors are called `tensor_in` and `tensor_out`; the user's names stand in the
    signature only.
    """
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema

    weights, bias = dense_weights(features, classes, seed=seed)
    model = schema.ModelT()
    model.version = 3
    model.description = b"dense"
    model.buffers = [schema.BufferT() for _ in range(3)]
    model.buffers[1].data = np.frombuffer(weights.tobytes(), np.uint8)
    model.buffers[2].data = np.frombuffer(bias.tobytes(), np.uint8)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model.operatorCodes = [code]
    model.subgraphs = [_dense_subgraph(schema, features, classes)]
    if signature:
        model.signatureDefs = [_dense_signature(schema)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _dense_subgraph(schema: Any, features: int, classes: int) -> Any:
    graph = schema.SubGraphT()
    graph.name = b"main"
    graph.tensors = [
        _float_tensor(schema, "tensor_in", [1, features], 0),
        _float_tensor(schema, "weights", [classes, features], 1),
        _float_tensor(schema, "bias", [classes], 2),
        _float_tensor(schema, "tensor_out", [1, classes], 0),
    ]
    graph.inputs, graph.outputs = [0], [3]
    operator = schema.OperatorT()
    operator.opcodeIndex = 0
    operator.inputs, operator.outputs = [0, 1, 2], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    graph.operators = [operator]
    return graph


def _float_tensor(schema: Any, name: str, shape: list[int], buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.name = name.encode()
    tensor.shape = shape
    tensor.type = schema.TensorType.FLOAT32
    tensor.buffer = buffer
    return tensor


def _dense_signature(schema: Any) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey = b"serving_default"
    signature.subgraphIndex = 0
    signature.inputs = [_named(schema, "in/put:0", 0)]
    signature.outputs = [_named(schema, "scores", 3)]
    return signature


def _named(schema: Any, name: str, tensor: int) -> Any:
    mapping = schema.TensorMapT()
    mapping.name = name.encode()
    mapping.tensorIndex = tensor
    return mapping
