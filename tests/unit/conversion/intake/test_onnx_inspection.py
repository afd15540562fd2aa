"""What an ONNX file tells, and which files are refused with the node named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake import inspect_source
from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.signature import DType
from edgeconv.testing.onnx_graphs import node, write_graph

X = {"x": ("float32", [1, 4])}
Y = {"y": ("float32", [1, 4])}


def _inspect(folder: Path) -> Inspection:
    return inspect_source(folder)


def _refusal(folder: Path) -> EdgeconvError:
    with pytest.raises(EdgeconvError) as caught:
        inspect_source(folder)
    return caught.value


def test_interface_weights_and_operators_are_told(tmp_path: Path) -> None:
    write_graph(
        tmp_path / "m.onnx",
        [node("MatMul", ["in/put:0", "w"], ["t"]), node("Relu", ["t"], ["out put"])],
        {"in/put:0": ("float32", ["batch", 4])},
        {"out put": ("float32", ["batch", 8])},
        {"w": np.zeros((4, 8), np.float32)},
        opset=13,
    )
    told = _inspect(tmp_path)
    assert (told.format, told.opset) == ("onnx", 13)
    assert told.inputs[0].name == "in/put:0"
    assert told.inputs[0].shape == ("batch", 4)
    assert told.outputs[0].dtype is DType.FLOAT32
    assert (told.parameters, told.weights_bytes) == (32, 128)
    assert told.operators == {"MatMul": 1, "Relu": 1}


def test_statistics_and_shapes_are_no_parameters(tmp_path: Path) -> None:
    norm = node("BatchNormalization", ["t", "scale", "bias", "mean", "var"], ["n"])
    four = {name: np.ones(4, np.float32) for name in ("scale", "bias", "mean", "var")}
    write_graph(
        tmp_path / "m.onnx",
        [node("Reshape", ["x", "shape"], ["t"]), norm, node("Mul", ["n", "w"], ["y"])],
        {"x": ("float32", [8])},
        {"y": ("float32", [2, 4])},
        {**four, "shape": np.array([2, 4]), "w": np.ones(4, np.float32)},
    )
    told = _inspect(tmp_path)
    assert (told.parameters, told.weights_bytes) == (3 * 4, 5 * 4 * 4 + 2 * 8)


def test_axes_without_a_name_or_below_one_are_open(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "m.onnx", [node("Relu", ["x"], ["y"])], X, Y)
    model = onnx.load(str(path))
    axes = model.graph.input[0].type.tensor_type.shape.dim
    axes[0].dim_value = -1
    axes[1].Clear()
    path.write_bytes(model.SerializeToString())
    told = _inspect(tmp_path)
    assert told.inputs[0].shape == ("?", "?")
    assert any("without shapes" in note for note in told.notes)


def test_an_input_with_a_value_in_the_file_is_a_constant_and_noted(tmp_path: Path) -> None:
    constants = {"w": np.ones((1, 4), np.float32)}
    inputs = {**X, "w": ("float32", [1, 4])}
    write_graph(tmp_path / "m.onnx", [node("Add", ["x", "w"], ["y"])], inputs, Y, constants)
    told = _inspect(tmp_path)
    assert [each.name for each in told.inputs] == ["x"]
    assert any("'w'" in note for note in told.notes)


def test_an_operator_without_a_handler_is_named_with_its_node(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["t"]), node("NonZero", ["t"], ["y"], name="find them")]
    write_graph(tmp_path / "m.onnx", nodes, X, {"y": ("int64", [2, "n"])})
    error = _refusal(tmp_path)
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert error.metadata == {"node": "find them", "operator": "NonZero"}
    assert error.fix


def test_the_same_operator_on_constants_is_no_obstacle(tmp_path: Path) -> None:
    nodes = [
        node("NonZero", ["c"], ["places"]),
        node("Cast", ["places"], ["t"], to=TensorProto.FLOAT),
        node("Add", ["x", "t"], ["y"]),
    ]
    constants = {"c": np.array([1, 0, 2, 0, 3, 4], np.float32)}
    write_graph(tmp_path / "m.onnx", nodes, X, Y, constants)
    assert _inspect(tmp_path).operators["NonZero"] == 1


def test_an_operator_is_found_even_where_shapes_are_open(tmp_path: Path) -> None:
    open_axes = {"x": ("float32", ["a", "b"])}
    write_graph(
        tmp_path / "m.onnx", [node("Unique", ["x"], ["y"])], open_axes, {"y": ("float32", ["n"])}
    )
    assert _refusal(tmp_path).metadata["operator"] == "Unique"


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Relu", ["nowhere"], ["y"])], "made by nothing"),
        ([node("Relu", ["x"], ["z"])], "nothing in the graph makes this output"),
    ],
)
def test_a_graph_that_does_not_hang_together_is_unreadable(
    tmp_path: Path, nodes: list[onnx.NodeProto], words: str
) -> None:
    write_graph(tmp_path / "m.onnx", nodes, X, Y)
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert words in error.message


def test_a_domain_of_its_own_is_refused(tmp_path: Path) -> None:
    made = helper.make_node("Magic", ["x"], ["y"], domain="com.example", name="wand")
    write_graph(tmp_path / "m.onnx", [made], X, Y)
    error = _refusal(tmp_path)
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert "com.example" in error.message


def test_an_operator_that_the_opset_does_not_have_is_refused(tmp_path: Path) -> None:
    write_graph(tmp_path / "m.onnx", [node("HardSwish", ["x"], ["y"])], X, Y, opset=13)
    assert "operator set 13" in _refusal(tmp_path).message


@pytest.mark.parametrize("opset", [6, 99])
def test_operator_sets_too_old_or_too_new_are_refused(tmp_path: Path, opset: int) -> None:
    write_graph(tmp_path / "m.onnx", [node("Relu", ["x"], ["y"])], X, Y, opset=opset)
    error = _refusal(tmp_path)
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert error.metadata["opset"] == str(opset)


def test_text_tensors_are_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "m.onnx", [node("Relu", ["x"], ["y"])], X, Y)
    model = onnx.load(str(path))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    path.write_bytes(model.SerializeToString())
    assert "STRING" in _refusal(tmp_path).message


def test_a_sequence_input_is_refused(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "m.onnx", [node("Relu", ["x"], ["y"])], X, Y)
    model = onnx.load(str(path))
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, [1])
    model.graph.input.append(sequence)
    path.write_bytes(model.SerializeToString())
    assert "sequence_type" in _refusal(tmp_path).message
