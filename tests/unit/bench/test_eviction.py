"""Files leave the page cache, or it is said that they did not."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from edgeconv.bench.eviction import evict


def test_a_file_just_written_and_read_leaves_memory(tmp_path: Path) -> None:
    paths = [tmp_path / "model.onnx", tmp_path / "model.onnx.data"]
    for path in paths:
        path.write_bytes(bytes(300_000))
        path.read_bytes()
    assert evict(paths) is True


def test_a_file_that_someone_maps_stays_and_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"x" * 300_000)
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert sum(mapped[place] for place in range(0, len(mapped), 4096))
        assert evict([path]) is False
    assert evict([path]) is True


def test_a_file_system_in_memory_does_not_pretend() -> None:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        pytest.skip("there is no /dev/shm here")
    path = folder / "edgeconv-test-eviction"
    path.write_bytes(bytes(9000))
    try:
        assert evict([path]) is not True
    finally:
        path.unlink()


def test_an_empty_file_and_no_files_are_out(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert evict([path]) is True
    assert evict([]) is True
