"""What ONNX Runtime says of a file, without the places in its own code."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.runtimes.onnxruntime.child import load


def test_the_places_in_the_librarys_code_are_left_out(tmp_path: Path) -> None:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="odd")
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 2, 2])],
    )  # fmt: skip
    path = tmp_path / "m.onnx"
    opset = [helper.make_opsetid("", 13)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    with pytest.raises(EdgeconvError) as caught:
        load(path)
    assert caught.value.reason is Reason.RUNTIME_REFUSED
    assert "mode attribute is odd." in caught.value.message
    assert "onnxruntime_src" not in caught.value.message
    assert "::" not in caught.value.message
