"""External data of ONNX files: beside the model, whole, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake import inspect_source
from edgeconv.testing.tiny_files import write_dense_onnx


def _external(folder: Path) -> Path:
    path = write_dense_onnx(folder / "model.onnx")
    model = onnx.load(str(path))
    onnx.save(
        model, str(path), save_as_external_data=True, location="model.onnx.data", size_threshold=0
    )
    return path


def _point(path: Path, key: str, value: str) -> None:
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == key:
                entry.value = value
    path.write_bytes(model.SerializeToString())


def _refusal(folder: Path) -> EdgeconvError:
    with pytest.raises(EdgeconvError) as caught:
        inspect_source(folder)
    return caught.value


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    _external(tmp_path)
    inspection = inspect_source(tmp_path)
    assert inspection.parameters == 650
    assert inspection.weights_bytes == 2600


@pytest.mark.parametrize(
    "location", ["../secret", "/etc/passwd", "sub/data", "C:\\data", "..", ".", ""]
)
def test_a_location_outside_the_folder_is_unsafe(tmp_path: Path, location: str) -> None:
    _point(_external(tmp_path), "location", location)
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNSAFE
    assert error.metadata["tensor"] == "weights"


def test_a_link_out_of_the_folder_is_unsafe(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    _external(folder)
    (tmp_path / "secret").write_bytes((folder / "model.onnx.data").read_bytes())
    (folder / "model.onnx.data").unlink()
    (folder / "model.onnx.data").symlink_to(tmp_path / "secret")
    assert _refusal(folder).reason is Reason.MODEL_UNSAFE


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    _external(tmp_path)
    (tmp_path / "model.onnx.data").unlink()
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert error.metadata["location"] == "model.onnx.data"


def test_a_file_that_is_too_short_says_by_how_much(tmp_path: Path) -> None:
    _external(tmp_path)
    data = tmp_path / "model.onnx.data"
    data.write_bytes(data.read_bytes()[:100])
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "the file has 100" in error.message


@pytest.mark.parametrize("offset", ["-8", "1e3", "١"])
def test_an_offset_that_is_no_number_is_refused(tmp_path: Path, offset: str) -> None:
    _point(_external(tmp_path), "offset", offset)
    assert _refusal(tmp_path).reason is Reason.MODEL_UNREADABLE


def test_values_of_another_size_are_told_with_the_file_they_lie_in(tmp_path: Path) -> None:
    path = _external(tmp_path)
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        kept = [each for each in tensor.external_data if each.key != "length"]
        del tensor.external_data[:]
        tensor.external_data.extend(kept)
    path.write_bytes(model.SerializeToString())
    with (tmp_path / "model.onnx.data").open("ab") as data:
        data.write(b"123")
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "model.onnx.data" in error.message
