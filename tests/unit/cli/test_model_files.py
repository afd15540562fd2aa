"""Which files belong to a model, and how they are staged for a child."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.staging import stage
from edgeconv.cli.uploads import dataset_name, model_files


def _write(path: Path, location: str) -> Path:
    weights = numpy_helper.from_array(np.ones((64, 64), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])], [weights],
    )  # fmt: skip
    model = helper.make_model(graph)
    onnx.save(model, str(path), save_as_external_data=True, location=location, size_threshold=0)
    return path


@pytest.mark.parametrize("location", ["net.onnx.data", "net.onnx_data", "weights.bin"])
def test_external_data_comes_with_its_model(tmp_path: Path, location: str) -> None:
    model = _write(tmp_path / "net.onnx", location)
    (tmp_path / "other.onnx.data").write_bytes(b"of another model")
    (tmp_path / "unrelated.bin").write_bytes(b"")
    assert model_files(model) == [model, tmp_path / location]


def test_a_link_to_data_that_does_not_lie_with_the_model_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of the user")
    folder = tmp_path / "unpacked"
    folder.mkdir()
    model = _write(folder / "net.onnx", "net.onnx.data")
    (folder / "net.onnx.data").unlink()
    (folder / "net.onnx.data").symlink_to("../secret")
    with pytest.raises(EdgeconvError, match="does not lie with the model") as caught:
        model_files(model)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert str(secret) in caught.value.message


def test_a_cache_that_links_both_the_model_and_its_data_is_taken(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    for folder in (blobs, snapshot):
        folder.mkdir()
    _write(blobs / "net.onnx", "net.onnx.data").rename(blobs / "a1")
    (blobs / "net.onnx.data").rename(blobs / "b2")
    (snapshot / "net.onnx").symlink_to("../blobs/a1")
    (snapshot / "net.onnx.data").symlink_to("../blobs/b2")
    model = snapshot / "net.onnx"
    assert model_files(model) == [model, snapshot / "net.onnx.data"]


def test_a_model_without_data_is_alone(tmp_path: Path) -> None:
    model = tmp_path / "net.pt2"
    model.write_bytes(b"PK\x03\x04 net.pt2.data")
    (tmp_path / "net.pt2.data").touch()
    assert model_files(model) == [model]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"garbage", "it is text"),
        (f"<html> {'é' * 600}".encode(), "it is text"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "pointer of Git LFS"),
    ],
)
@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_what_is_seen_to_be_no_model_is_refused_at_once(
    tmp_path: Path, content: bytes, why: str, suffix: str
) -> None:
    model = tmp_path / f"bad.{suffix}"
    model.write_bytes(content)
    with pytest.raises(EdgeconvError, match=why) as caught:
        model_files(model)
    assert caught.value.reason is Reason.MODEL_UNREADABLE
    assert f"bad.{suffix}" in caught.value.message


def test_a_device_is_no_regular_file() -> None:
    with pytest.raises(EdgeconvError, match="'/dev/null' is no regular file"):
        model_files(Path("/dev/null"))
    with pytest.raises(EdgeconvError, match="'/dev/null' is no regular file"):
        dataset_name(Path("/dev/null"))


def test_given_files_are_taken_as_they_are(tmp_path: Path) -> None:
    model = _write(tmp_path / "net.onnx", "net.onnx.data")
    given = tmp_path / "elsewhere.dat"
    given.touch()
    assert model_files(model, [given]) == [model, given]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"gone\.onnx") as caught:
        model_files(tmp_path / "gone.onnx")
    assert caught.value.reason is Reason.FIELD_INVALID


def test_a_dataset_is_named_after_its_content(tmp_path: Path) -> None:
    first, second = tmp_path / "Test Set.npz", tmp_path / "b" / "Test Set.npz"
    second.parent.mkdir()
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    names = {dataset_name(first), dataset_name(second), dataset_name(first)}
    assert len(names) == 2
    assert all(name.startswith("datasets/test-set-") for name in names)
    with pytest.raises(EdgeconvError):
        dataset_name(tmp_path / "gone.npz")


def test_staging_holds_the_files_and_nothing_else(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    model.write_bytes(b"abc")
    link = tmp_path / "link.onnx"
    link.symlink_to(model)
    stage([model, link], tmp_path / "staged")
    staged = sorted((tmp_path / "staged").iterdir())
    assert [path.name for path in staged] == ["link.onnx", "net.onnx"]
    assert all(path.read_bytes() == b"abc" and not path.is_symlink() for path in staged)
    assert all(path.stat().st_nlink == 1 for path in staged)
    with pytest.raises(EdgeconvError):
        stage([tmp_path / ".hidden"], tmp_path / "again")
