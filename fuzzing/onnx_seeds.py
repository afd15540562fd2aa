"""Honest ONNX models that the mutators begin with; each has what the others lack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_FLOAT, _INT64, _BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def values(*shape: int) -> Any:
    """The same numbers for a shape each time."""
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def tensor(name: str, array: Any) -> Any:
    """An initializer."""
    return numpy_helper.from_array(np.asarray(array), name)


def model(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], tensors: list[Any],
    version: int = 17, **more: Any,
) -> Any:  # fmt: skip
    """A model of one graph, in that version of the operator set."""
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", version), *more.pop("opsets", [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


def convolutional() -> Any:
    """Convolution, norm, pool, shape arithmetic, dense layer; the batch is open."""
    node = helper.make_node
    return model(
        [
            node("Conv", ["x", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], name="conv"),
            node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"]),
            node("Relu", ["n"], ["r"]),
            node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Shape", ["p"], ["s"]),
            node("Gather", ["s", "zero"], ["b"], axis=0),
            node("Unsqueeze", ["b", "axes"], ["u"]),
            node("Concat", ["u", "minus"], ["to"], axis=0),
            node("Reshape", ["p", "to"], ["f"]),
            node("Gemm", ["f", "dense", "offset"], ["y"], transB=1, alpha=1.0),
        ],
        [helper.make_tensor_value_info("x", _FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", _FLOAT, ["batch", 5])],
        [
            tensor("w", values(4, 3, 3, 3)), tensor("scale", values(4)),
            tensor("bias", values(4)), tensor("mean", values(4)),
            tensor("var", np.ones(4, np.float32)), tensor("zero", np.int64(0)),
            tensor("axes", np.array([0])), tensor("minus", np.array([-1])),
            tensor("dense", values(5, 64)), tensor("offset", values(5)),
        ],
    )  # fmt: skip


def attention() -> Any:
    """Embedding, matrix products, softmax, slices; integers in."""
    node = helper.make_node
    return model(
        [
            node("Gather", ["table", "ids"], ["e"]),
            node("MatMul", ["e", "wq"], ["q"]),
            node("Transpose", ["e"], ["k"], perm=[0, 2, 1]),
            node("MatMul", ["q", "k"], ["a"]),
            node("Softmax", ["a"], ["m"], axis=-1),
            node("MatMul", ["m", "e"], ["o"]),
            node("Slice", ["o", "start", "end", "axes"], ["h"]),
            node("ReduceMean", ["h"], ["mean"], axes=[1], keepdims=0),
            node("Split", ["mean"], ["left", "right"], axis=1),
            node("Mul", ["left", "right"], ["y"]),
        ],
        [helper.make_tensor_value_info("ids", _INT64, [1, 6])],
        [helper.make_tensor_value_info("y", _FLOAT, [1, 4])],
        [
            tensor("table", values(16, 8)), tensor("wq", values(8, 8)),
            tensor("start", np.array([1])), tensor("end", np.array([2**63 - 1])),
            tensor("axes", np.array([1])),
        ],
    )  # fmt: skip


def branching() -> Any:
    """An `If` whose condition is constant, with values in its branches."""

    def branch(name: str, operator: str) -> Any:
        return helper.make_graph(
            [
                helper.make_node("Constant", [], ["k"], value=tensor("k", values(4))),
                helper.make_node(operator, ["x", "k"], [name]),
            ],
            name, [], [helper.make_tensor_value_info(name, _FLOAT, [2, 4])],
        )  # fmt: skip

    return model(
        [
            helper.make_node(
                "If",
                ["flag"],
                ["z"],
                then_branch=branch("t", "Add"),
                else_branch=branch("e", "Sub"),
            ),
            helper.make_node("Tanh", ["z"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", _FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", _FLOAT, [2, 4])],
        [tensor("flag", np.array(True))],
    )


def recurrent() -> Any:
    """An LSTM with an omitted input, and a resize."""
    return model(
        [
            helper.make_node("LSTM", ["x", "w", "r", "", "", "h", "c"], ["all", "last"],
                             hidden_size=3),
            helper.make_node("Squeeze", ["all", "one"], ["s"]),
            helper.make_node("Unsqueeze", ["s", "zero"], ["u"]),
            helper.make_node("Resize", ["u", "", "scales"], ["y"], mode="nearest"),
        ],
        [helper.make_tensor_value_info("x", _FLOAT, [5, 1, 2])],
        [helper.make_tensor_value_info("y", _FLOAT, None),
         helper.make_tensor_value_info("last", _FLOAT, [1, 1, 3])],
        [
            tensor("w", values(1, 12, 2)), tensor("r", values(1, 12, 3)),
            tensor("h", np.zeros((1, 1, 3), np.float32)),
            tensor("c", np.zeros((1, 1, 3), np.float32)),
            tensor("one", np.array([1])), tensor("zero", np.array([0])),
            tensor("scales", np.array([1, 1, 2, 2], np.float32)),
        ],
    )  # fmt: skip


def with_functions() -> Any:
    """A function of the model's own that calls another."""
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    inner = helper.make_function(
        "mine", "Scaled", ["a"], ["b"],
        [helper.make_node("Constant", [], ["k"], value=tensor("k", np.float32(2))),
         helper.make_node("Mul", ["a", "k"], ["b"])], versions,
    )  # fmt: skip
    outer = helper.make_function(
        "mine", "Twice", ["a"], ["b"],
        [helper.make_node("Scaled", ["a"], ["m"], domain="mine"),
         helper.make_node("Scaled", ["m"], ["b"], domain="mine")], versions,
    )  # fmt: skip
    return model(
        [helper.make_node("Twice", ["x"], ["t"], domain="mine"),
         helper.make_node("Relu", ["t"], ["y"])],
        [helper.make_tensor_value_info("x", _FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", _FLOAT, [2, 4])],
        [], functions=[inner, outer], opsets=[helper.make_opsetid("mine", 1)],
    )  # fmt: skip


BASIC_SEEDS: dict[str, Callable[[], Any]] = {
    "convolutional": convolutional,
    "attention": attention,
    "branching": branching,
    "recurrent": recurrent,
    "functions": with_functions,
}


def external(proto: Any) -> bytes:
    """Moves the model's tensors into one file beside it; gives that file."""
    data = bytearray()
    for each in proto.graph.initializer:
        onnx.external_data_helper.set_external_data(
            each, "model.onnx.data", offset=len(data), length=len(each.raw_data)
        )
        data += each.raw_data
        each.ClearField("raw_data")
        each.data_location = TensorProto.EXTERNAL
    return bytes(data)
