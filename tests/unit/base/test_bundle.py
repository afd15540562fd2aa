"""Bundles: which files belong, and which are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeconv.base.bundle import check_file_name, scan_bundle
from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason


def test_a_folder_is_scanned_in_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b.bin").write_bytes(b"bb")
    (tmp_path / "a.onnx").write_bytes(b"a")
    bundle = scan_bundle(tmp_path)
    assert [(f.name, f.size_bytes) for f in bundle] == [("a.onnx", 1), ("b.bin", 2)]
    assert bundle.files[0].digest == digest_bytes(b"a")
    assert bundle.size_bytes == 3


def test_links_and_folders_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(EdgeconvError, match="passwd") as refused:
        scan_bundle(tmp_path)
    assert refused.value.reason is Reason.FIELD_INVALID
    (tmp_path / "passwd").unlink()
    (tmp_path / "folder").mkdir()
    with pytest.raises(EdgeconvError, match="folder"):
        scan_bundle(tmp_path)


def test_a_pipe_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EdgeconvError, match="pipe"):
        scan_bundle(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *("model.onnx", "model.onnx.data", "a", "weights_0.bin", "x+y@2"),
        *("model(1).onnx", "my módel (v1).pt2", "mo\u0301del.onnx", "[a] & b.onnx", "模型.onnx"),
        "x" * 180,
    ],
)
def test_names_that_can_name_a_file(name: str) -> None:
    assert check_file_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".hidden", "a/b", "../a", "a\x00b", "a\n", "-rf", " a", "a\\b"),
        *("x" * 181, "é" * 91, "a\x1b[2J", "a\u202eb", "a\u2028", "a\x7f", "a\udcff"),
    ],
)
def test_names_that_cannot(name: str) -> None:
    with pytest.raises(EdgeconvError) as refused:
        check_file_name(name)
    assert refused.value.reason is Reason.FIELD_INVALID
