"""Names of a model's inputs, outputs and axes: any text, but of a length, and one that is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake import LONGEST_NAME, MOST_TENSORS, inspect_source


def _write(folder: Path, given: str, made: str, axis: str = "n", outputs: int = 1) -> None:
    names = [made, *(f"{made}{place}" for place in range(1, outputs))]
    graph = helper.make_graph(
        [helper.make_node("Relu", [given], [name]) for name in names],
        "graph",
        [helper.make_tensor_value_info(given, TensorProto.FLOAT, [axis, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [axis, 4]) for name in names],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "name",
    [
        "\x1b[2J\x1b[31m", "\x9b31m", "\r\n\x07", "\u202egnp.exe", "\u2028", "../../etc/passwd",
        "<script>alert(1)</script>", "{{7*7}}", "%s%n", "名前", "\U000e0041", "n" * LONGEST_NAME,
    ],
)  # fmt: skip
def test_a_name_is_kept_as_it_is(tmp_path: Path, name: str) -> None:
    _write(tmp_path, name, f"{name[1:]}2", f"{name[1:]}3")
    told = inspect_source(tmp_path)
    assert told.inputs[0].name == name
    assert told.inputs[0].shape[0] == f"{name[1:]}3"
    assert told.outputs[0].name == f"{name[1:]}2"


@pytest.mark.parametrize("name", ["a\0b", "n" * (LONGEST_NAME + 1), "n" * 5_000_000])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_name_that_nothing_could_keep_is_refused(tmp_path: Path, name: str, place: int) -> None:
    names = ["x", "y", "n"]
    names[place] = name
    _write(tmp_path, *names)
    with pytest.raises(EdgeconvError) as caught:
        inspect_source(tmp_path)
    assert caught.value.reason is Reason.MODEL_UNREADABLE
    assert len(str(caught.value)) < 400
    assert "\0" not in str(caught.value)


def test_outputs_without_number_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, "x", "y", outputs=MOST_TENSORS)
    with pytest.raises(EdgeconvError) as caught:
        inspect_source(tmp_path)
    assert caught.value.reason is Reason.MODEL_UNREADABLE
    assert str(MOST_TENSORS) in caught.value.message
