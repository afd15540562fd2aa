"""Files into and out of a child's folder."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.removal import remove_folder
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.jobs.child_files import MAX_FILES, bring_in, take_out

_NOBODY = 65534


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs.local(tmp_path / "blobs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.mkdir()
    return path


def test_what_a_step_wrote_comes_back_as_it_was(blobs: Blobs, folder: Path, tmp_path: Path) -> None:
    (folder / "b.bin").write_bytes(b"two")
    (folder / "a.bin").write_bytes(b"one")
    (folder / "empty").touch()
    files = take_out(blobs, folder)
    assert [file.name for file in files] == ["a.bin", "b.bin", "empty"]
    assert files[0].digest == digest_bytes(b"one")
    bring_in(blobs, files, tmp_path / "in")
    assert (tmp_path / "in" / "b.bin").read_bytes() == b"two"
    assert (tmp_path / "in" / "empty").read_bytes() == b""


def test_files_are_copies_that_later_steps_cannot_write(
    blobs: Blobs, folder: Path, tmp_path: Path
) -> None:
    (folder / "a.bin").write_bytes(b"one")
    files = take_out(blobs, folder)
    bring_in(blobs, files, tmp_path / "in")
    for path in (folder / "a.bin", tmp_path / "in" / "a.bin"):
        assert path.stat().st_nlink == 1
        assert path.stat().st_mode & 0o222 == 0
        assert path.parent.stat().st_mode & 0o222 == 0
    remove_folder(tmp_path / "in")
    assert not (tmp_path / "in").exists()


def _link(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")


def _folder(folder: Path) -> None:
    (folder / "folder").mkdir()


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize("make", [_link, _folder, _pipe])
def test_only_regular_files_are_taken(blobs: Blobs, folder: Path, make: object) -> None:
    make(folder)  # type: ignore[operator]
    with pytest.raises(EdgeconvError) as caught:
        take_out(blobs, folder)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert "no regular file" in caught.value.message


def test_a_folder_behind_a_link_is_not_taken(blobs: Blobs, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    for swapped in ("link", "gone"):
        with pytest.raises(EdgeconvError, match="took its folder away") as caught:
            take_out(blobs, tmp_path / swapped)
        assert caught.value.reason is Reason.FIELD_INVALID


@contextmanager
def as_another_user(*owned: Path) -> Iterator[None]:
    """No root, whom no mode keeps out; `owned` are the user's."""
    if os.geteuid() != 0:
        yield
        return
    for path in owned:
        os.chown(path, _NOBODY, -1)
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_was_closed_is_a_fault_of_the_step(blobs: Blobs) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "out")
        folder.mkdir()
        with as_another_user(Path(name), folder):
            assert take_out(blobs, folder) == ()
            folder.chmod(0)
            with pytest.raises(EdgeconvError, match="took its folder away") as caught:
                take_out(blobs, folder)
        assert caught.value.reason is Reason.FIELD_INVALID


def test_a_name_that_is_no_bundle_name_is_refused(blobs: Blobs, folder: Path) -> None:
    (folder / ".hidden").write_bytes(b"x")
    with pytest.raises(EdgeconvError, match="hidden"):
        take_out(blobs, folder)


def test_too_many_files_are_refused(blobs: Blobs, folder: Path) -> None:
    for number in range(MAX_FILES + 1):
        (folder / f"f{number}").touch()
    with pytest.raises(EdgeconvError) as caught:
        take_out(blobs, folder)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_a_file_that_is_large_and_holds_nothing_is_refused_unread(
    blobs: Blobs, folder: Path
) -> None:
    for number in range(3):
        with (folder / f"f{number}").open("wb") as stream:
            stream.truncate(4 << 30)
    with pytest.raises(EdgeconvError, match="12 GiB; 8 GiB are allowed") as caught:
        take_out(blobs, folder)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_what_is_stored_is_what_was_digested_though_the_child_writes_on(
    blobs: Blobs, folder: Path, tmp_path: Path
) -> None:
    path = folder / "weights.bin"
    path.write_bytes(bytes(40 << 20))
    ended, begun = threading.Event(), threading.Event()

    def write_on() -> None:
        with path.open("r+b", buffering=0) as stream:
            while not ended.is_set():
                stream.seek(0)
                stream.write(os.urandom(64))
                stream.seek(36 << 20)
                stream.write(os.urandom(64))
                begun.set()

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        begun.wait(10)
        (file,) = take_out(blobs, folder)
    finally:
        ended.set()
        writer.join()
    bring_in(blobs, (file,), tmp_path / "in")
    assert digest_bytes((tmp_path / "in" / "weights.bin").read_bytes()) == file.digest
    assert file.size_bytes == 40 << 20


def test_a_file_beyond_the_limit_is_refused(
    blobs: Blobs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeconv.server.jobs.child_files.MAX_BUNDLE_BYTES", 10)
    (folder / "a.bin").write_bytes(bytes(6))
    (folder / "b.bin").write_bytes(bytes(5))
    with pytest.raises(EdgeconvError, match="11 B; 10 B are allowed") as caught:
        take_out(blobs, folder)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED
