"""Which format a model's files have, by content and not by name."""

from __future__ import annotations

import gzip
import pickle
import zipfile
from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake import inspect_source
from edgeconv.conversion.intake.formats import recognise
from edgeconv.testing.tiny_files import write_dense_onnx, write_dense_tflite


def _refusal(folder: Path) -> EdgeconvError:
    with pytest.raises(EdgeconvError) as caught:
        inspect_source(folder)
    return caught.value


def test_an_onnx_file_under_another_name_is_recognised(tmp_path: Path) -> None:
    write_dense_onnx(tmp_path / "weights.bin")
    assert recognise(tmp_path).format == "onnx"


def test_a_file_beside_the_model_is_taken_for_its_external_data(tmp_path: Path) -> None:
    write_dense_onnx(tmp_path / "a.onnx")
    (tmp_path / "a.onnx.data").write_bytes(b"1234")
    assert recognise(tmp_path).path.name == "a.onnx"


def test_two_models_are_refused_by_name(tmp_path: Path) -> None:
    write_dense_onnx(tmp_path / "a.onnx")
    write_dense_onnx(tmp_path / "b.onnx")
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "a.onnx, b.onnx" in error.message


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert _refusal(tmp_path).reason is Reason.MODEL_UNREADABLE


def test_a_bare_pickle_is_unsafe_and_not_read(tmp_path: Path) -> None:
    witness = tmp_path / "it ran"
    (tmp_path / "model.pt2").write_bytes(pickle.dumps(_Toucher(witness)))
    assert _refusal(tmp_path).reason is Reason.MODEL_UNSAFE
    assert not witness.exists()


def test_noise_that_is_called_a_saved_program_is_refused_as_none(tmp_path: Path) -> None:
    (tmp_path / "model.pt2").write_bytes(bytes(range(200, 255)) * 40)
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "no zip archive" in error.message
    assert "torch.export.save" in error.fix


def test_a_tflite_file_is_refused_with_what_to_send(tmp_path: Path) -> None:
    write_dense_tflite(tmp_path / "model.tflite")
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "TFLite" in error.message


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (["m/data.pkl", "m/code/__torch__.py"], "TorchScript"),
        (["m/data.pkl", "m/data/0"], "checkpoint"),
        (["serialized_exported_program.json", "version"], "before 2.8"),
        (["m/readme.txt"], "no exported program"),
    ],
)
def test_other_archives_are_refused_by_what_they_are(
    tmp_path: Path, members: list[str], words: str
) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        for member in members:
            archive.writestr(member, b"x")
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert words in error.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"x" * 99), "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
    ],
)
@pytest.mark.parametrize("name", ["model.onnx", "model.pt2"])
def test_what_often_stands_in_a_model_s_place_is_called_by_its_name(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert words in error.message
    assert error.fix


@pytest.mark.parametrize("kept", [0, 3, 100])
def test_a_truncated_onnx_file_is_unreadable(tmp_path: Path, kept: int) -> None:
    path = write_dense_onnx(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:kept])
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "model.onnx" in error.message


class _Toucher:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)
