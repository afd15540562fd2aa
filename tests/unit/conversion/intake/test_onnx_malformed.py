"""ONNX files that parse and are not whole: each is refused at the border, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, parser

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake import inspect_source
from edgeconv.testing.onnx_graphs import node


def _model(nodes: Sequence[NodeProto], **constants: Any) -> bytes:
    graph = helper.make_graph(
        nodes, "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def _refusal(folder: Path, model: bytes) -> EdgeconvError:
    (folder / "model.onnx").write_bytes(model)
    with pytest.raises(EdgeconvError) as caught:
        inspect_source(folder)
    return caught.value


@pytest.mark.parametrize("axes", [[0, 0], [9], [-9], [2**40]])
def test_axes_that_a_tensor_can_not_get_are_refused(tmp_path: Path, axes: list[int]) -> None:
    error = _refusal(tmp_path, _model([node("Unsqueeze", ["x", "axes"], ["y"])], axes=axes))
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert str(axes) in error.message


@pytest.mark.parametrize(
    ("operator", "inputs", "takes"),
    [("Relu", ["x", "x"], "1 to 1"), ("Add", ["x"], "2 to 2"), ("Conv", [], "2 to 3")],
)
def test_a_node_with_too_many_or_too_few_inputs_is_named(
    tmp_path: Path, operator: str, inputs: list[str], takes: str
) -> None:
    error = _refusal(tmp_path, _model([node(operator, inputs, ["y"], name="it")]))
    assert error.reason is Reason.MODEL_UNREADABLE
    assert error.metadata["at"] == "it"
    assert takes in error.message


def test_inputs_left_out_at_the_end_are_no_inputs_too_many(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(_model([node("Clip", ["x", "", ""], ["y"])]))
    assert inspect_source(tmp_path).operators == {"Clip": 1}


def _branches(output: str) -> list[NodeProto]:
    branch = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["made"])], "branch", [],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
    )  # fmt: skip
    return [helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)]


@pytest.mark.parametrize("output", ["", "nowhere"])
def test_a_branch_that_returns_what_is_not_there_is_unreadable(tmp_path: Path, output: str) -> None:
    error = _refusal(tmp_path, _model(_branches(output), flag=True))
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "output" in error.message


@pytest.mark.parametrize("field", ["input", "output"])
def test_an_interface_without_a_name_is_unreadable(tmp_path: Path, field: str) -> None:
    made = ModelProto.FromString(_model([node("Relu", ["x"], ["y"])]))
    getattr(made.graph, field)[0].name = ""
    error = _refusal(tmp_path, made.SerializeToString())
    assert error.reason is Reason.MODEL_UNREADABLE


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b"\x0a\x01x", "ValueInfoProto.name"),
        (b"\x22\x04Relu", "NodeProto.op_type"),
        (b"\x12\x01y", "NodeProto.output"),
        (b"\x12\x05graph", "GraphProto.name"),
    ],
)
def test_a_text_that_is_no_text_is_named_by_its_field(
    tmp_path: Path, text: bytes, field: str
) -> None:
    """Protobuf gives bytes for such a one, which no reader of a text looks for."""
    model = _model([node("Relu", ["x"], ["y"])])
    assert text in model
    error = _refusal(tmp_path, model.replace(text, text[:2] + b"\xff" * (len(text) - 2)))
    assert error.reason is Reason.MODEL_UNREADABLE
    assert field in error.message


def test_the_name_of_an_operator_moves_no_cursor(tmp_path: Path) -> None:
    error = _refusal(tmp_path, _model([helper.make_node("\x1b[2J\n", ["x"], ["y"])]))
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert error.message.isprintable()


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [2]}),
        ("MaxPool", {"kernel_shape": [2, 0]}),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [1, -1]}),
        ("AveragePool", {"kernel_shape": [2, 2], "pads": [1, 1]}),
        ("MaxPool", {"kernel_shape": [2, 2], "dilations": [1] * 40}),
    ],
)
def test_a_window_that_does_not_fit_the_axes_is_refused_by_what_does_not_fit(
    tmp_path: Path, operator: str, attributes: dict[str, Any]
) -> None:
    error = _refusal(tmp_path, _model([node(operator, ["x"], ["y"], **attributes)]))
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert "does not fit 2 spatial axes" in error.message


@pytest.mark.parametrize("ending", ["onnxtxt", "textproto", "prototxt", "json", "onnxjson"])
def test_a_files_name_chooses_no_parser(tmp_path: Path, ending: str) -> None:
    """ONNX's reader of text is recursive compiled code, which a deep file ends."""
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[4] x) => (float[4] y) {y = Relu(x)}'
    assert parser.parse_model(text).graph.node
    other, folder = tmp_path / "other", tmp_path / "folder"
    for place, content in ((other, text.encode()), (folder, _model([node("Relu", ["x"], ["y"])]))):
        place.mkdir()
        (place / f"model.{ending}").write_bytes(content)
    with pytest.raises(EdgeconvError) as caught:
        inspect_source(other)
    assert caught.value.reason is Reason.MODEL_UNREADABLE
    assert inspect_source(folder).operators == {"Relu": 1}
