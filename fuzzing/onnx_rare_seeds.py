"""More honest ONNX models: quantized nodes, several open axes, nesting, old sets, indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import AttributeProto, TensorProto, helper

from fuzzing.onnx_seeds import model, tensor, values

_FLOAT, _HALF, _INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
_info = helper.make_tensor_value_info


def quantized() -> Any:
    """Weights and activations of 8 bits, each axis with a scale, written as exporters do."""
    node = helper.make_node
    return model(
        [
            node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
            node("DequantizeLinear", ["xq", "sx", "zx"], ["xf"]),
            node("DequantizeLinear", ["wq", "sw", "zw"], ["wf"], axis=0),
            node("Conv", ["xf", "wf", "b"], ["c"], kernel_shape=[3, 3], group=1),
            node("Clip", ["c", "", "six"], ["r"]),
            node("QuantizeLinear", ["r", "sy", "zy"], ["rq"]),
            node("DequantizeLinear", ["rq", "sy", "zy"], ["rf"]),
            node("GlobalAveragePool", ["rf"], ["y"]),
        ],
        [_info("x", _FLOAT, [1, 2, 6, 6])],
        [_info("y", _FLOAT, [1, 4, 1, 1])],
        [
            tensor("sx", np.float32(0.02)), tensor("zx", np.uint8(128)),
            tensor("wq", (np.arange(72) - 36).reshape(4, 2, 3, 3).astype(np.int8)),
            tensor("sw", np.full(4, 0.01, np.float32)), tensor("zw", np.zeros(4, np.int8)),
            tensor("b", values(4)), tensor("six", np.float32(6)),
            tensor("sy", np.float32(0.05)), tensor("zy", np.uint8(0)),
        ],
    )  # fmt: skip


def dynamic() -> Any:
    """Two inputs whose axes have names, and shapes computed from them."""
    node = helper.make_node
    return model(
        [
            node("Shape", ["ids"], ["s"]),
            node("Gather", ["s", "first"], ["n"]),
            node("Gather", ["s", "second"], ["m"]),
            node("Concat", ["n", "m", "width"], ["to"], axis=0),
            node("Gather", ["table", "ids"], ["e"]),
            node("Expand", ["one", "to"], ["base"]),
            node("Add", ["e", "base"], ["a"]),
            node("Where", ["keep", "a", "low"], ["w"]),
            node("ReduceSum", ["w", "second"], ["y"], keepdims=0),
        ],
        [_info("ids", _INT64, ["batch", "length"]),
         _info("keep", TensorProto.BOOL, ["batch", "length", 1])],
        [_info("y", _FLOAT, ["batch", 4])],
        [
            tensor("table", values(9, 4)), tensor("one", np.ones((1, 1, 4), np.float32)),
            tensor("width", np.array([4])), tensor("first", np.array([0])),
            tensor("second", np.array([1])), tensor("low", np.float32(-1e9)),
        ],
    )  # fmt: skip


def nested() -> Any:
    """An `If` in an `If`, both reading names of the graphs around them."""

    def branch(name: str, nodes: list[Any]) -> Any:
        return helper.make_graph(nodes, name, [], [_info(name, _FLOAT, [2, 3])])

    node = helper.make_node
    inner = node(
        "If", ["often"], ["outer_then"],
        then_branch=branch("deep", [node("Mul", ["shifted", "k"], ["deep"])]),
        else_branch=branch("flat", [node("Neg", ["shifted"], ["flat"])]),
    )  # fmt: skip
    return model(
        [
            node("Add", ["x", "k"], ["shifted"]),
            node("If", ["flag"], ["z"],
                 then_branch=branch("outer_then", [inner]),
                 else_branch=branch("same", [node("Identity", ["x"], ["same"])])),
            node("Sigmoid", ["z"], ["y"]),
        ],
        [_info("x", _FLOAT, [2, 3])],
        [_info("y", _FLOAT, [2, 3])],
        [tensor("k", values(3)), tensor("flag", np.array(True)), tensor("often", np.array(False))],
    )  # fmt: skip


def half() -> Any:
    """Numbers of 16 bits, casts, and a layer norm of parts."""
    node = helper.make_node
    return model(
        [
            node("Cast", ["x"], ["h"], to=_HALF),
            node("MatMul", ["h", "w"], ["m"]),
            node("ReduceMean", ["m"], ["mean"], axes=[-1], keepdims=1),
            node("Sub", ["m", "mean"], ["d"]),
            node("Mul", ["d", "d"], ["dd"]),
            node("ReduceMean", ["dd"], ["v"], axes=[-1], keepdims=1),
            node("Add", ["v", "eps"], ["ve"]),
            node("Sqrt", ["ve"], ["std"]),
            node("Div", ["d", "std"], ["q"]),
            node("Cast", ["q"], ["y"], to=_FLOAT),
        ],
        [_info("x", _FLOAT, [1, 4, 6])],
        [_info("y", _FLOAT, [1, 4, 6])],
        [tensor("w", values(6, 6).astype(np.float16)), tensor("eps", np.float16(1e-3))],
    )  # fmt: skip


def old_set() -> Any:
    """Operators of set 9, where axes, scales and bounds are attributes."""
    node = helper.make_node
    return model(
        [
            node("Pad", ["x"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect"),
            node("Upsample", ["p", "scales"], ["u"], mode="nearest"),
            node("ConvTranspose", ["u", "w"], ["c"], strides=[2, 2], output_padding=[1, 1]),
            node("Clip", ["c"], ["k"], min=-1.0, max=1.0),
            node("Slice", ["k"], ["s"], axes=[2, 3], starts=[1, 1], ends=[-1, 9]),
            node("Dropout", ["s"], ["d"], ratio=0.5),
            node("ReduceMax", ["d"], ["y"], axes=[2, 3], keepdims=0),
        ],
        [_info("x", _FLOAT, [1, 2, 4, 4])],
        [_info("y", _FLOAT, [1, 3])],
        [tensor("w", values(2, 3, 3, 3)), tensor("scales", np.array([1, 1, 2, 2], np.float32))],
        version=9,
    )  # fmt: skip


def indices() -> Any:
    """Values that are places in other tensors: sorted, gathered, scattered, one-hot."""
    node = helper.make_node
    return model(
        [
            node("TopK", ["x", "k"], ["best", "where"], axis=1),
            node("GatherElements", ["x", "where"], ["same"], axis=1),
            node("GatherND", ["x", "pairs"], ["few"]),
            node("ScatterND", ["same", "pairs", "few"], ["put"]),
            node("OneHot", ["where", "depth", "onoff"], ["hot"], axis=-1),
            node("ReduceSum", ["hot", "last"], ["counts"], keepdims=0),
            node("ArgMax", ["put"], ["top"], axis=1, keepdims=1),
            node("Cast", ["top"], ["topf"], to=_FLOAT),
            node("CumSum", ["put", "axis"], ["sums"]),
            node("Tile", ["topf", "times"], ["wide"]),
            node("Einsum", ["sums", "wide"], ["y"], equation="ij,ij->i"),
        ],
        [_info("x", _FLOAT, [3, 7])],
        [_info("y", _FLOAT, [3]), _info("counts", _FLOAT, [3, 4]), _info("best", _FLOAT, [3, 4])],
        [
            tensor("k", np.array([4])), tensor("pairs", np.array([[0, 1], [2, 3]])),
            tensor("depth", np.int64(7)), tensor("onoff", np.array([0, 1], np.float32)),
            tensor("last", np.array([-1])), tensor("axis", np.int64(1)),
            tensor("times", np.array([1, 4])),
        ],
    )  # fmt: skip


def with_references() -> Any:
    """A function whose nodes take their attributes from its call, one of them by default."""
    versions = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    soft = helper.make_node("LeakyRelu", ["a"], ["m"])
    soft.attribute.add(name="alpha", type=AttributeProto.FLOAT, ref_attr_name="slope")
    turned = helper.make_node("Softmax", ["m"], ["b"])
    turned.attribute.add(name="axis", type=AttributeProto.INT, ref_attr_name="over")
    function = helper.make_function(
        "mine", "Soft", ["a"], ["b"], [soft, turned], versions,
        attributes=["slope"], attribute_protos=[helper.make_attribute("over", -1)],
    )  # fmt: skip
    return model(
        [helper.make_node("Soft", ["x"], ["y"], domain="mine", slope=0.3)],
        [_info("x", _FLOAT, [2, 5])], [_info("y", _FLOAT, [2, 5])], [],
        functions=[function], opsets=[helper.make_opsetid("mine", 1)], version=18,
    )  # fmt: skip


def looping() -> Any:
    """A `Loop` and a `Scan` with bodies; refused, so what is changed is how they are read."""
    node = helper.make_node
    loop = helper.make_graph(
        [node("Add", ["v", "x"], ["w"]), node("Identity", ["go"], ["on"])], "body",
        [_info("i", _INT64, []), _info("go", TensorProto.BOOL, []), _info("v", _FLOAT, [2, 3])],
        [_info("on", TensorProto.BOOL, []), _info("w", _FLOAT, [2, 3])],
    )  # fmt: skip
    scan = helper.make_graph(
        [node("Add", ["s", "row"], ["t"]), node("Identity", ["t"], ["out"])], "scanned",
        [_info("s", _FLOAT, [3]), _info("row", _FLOAT, [3])],
        [_info("t", _FLOAT, [3]), _info("out", _FLOAT, [3])],
    )  # fmt: skip
    return model(
        [
            node("Loop", ["trips", "", "x"], ["looped"], body=loop),
            node("Scan", ["zero", "looped"], ["end", "y"], body=scan, num_scan_inputs=1),
        ],
        [_info("x", _FLOAT, [2, 3])],
        [_info("y", _FLOAT, [2, 3])],
        [tensor("trips", np.int64(4)), tensor("zero", np.zeros(3, np.float32))],
    )  # fmt: skip


RARE_SEEDS = {
    "quantized": quantized,
    "dynamic": dynamic,
    "nested": nested,
    "half": half,
    "old set": old_set,
    "indices": indices,
    "references": with_references,
    "looping": looping,
}
