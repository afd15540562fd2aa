"""Content that takes the place of another, in folders that can be renamed and in others."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli import folder_exchange
from edgeconv.cli.folder_exchange import (
    check_file_writable,
    check_writable,
    exchanged_at_the_end,
)

LAST = "result.json"
Kind = Callable[[Path, pytest.MonkeyPatch], Path]


def _plain(folder: Path, _patch: pytest.MonkeyPatch) -> Path:
    (folder / "out").mkdir()
    return folder / "out"


def _link(folder: Path, _patch: pytest.MonkeyPatch) -> Path:
    (folder / "real").mkdir()
    (folder / "out").symlink_to(folder / "real")
    return folder / "out"


def _current(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    (folder / "out" / "deeper").mkdir(parents=True)
    patch.chdir(folder / "out" / "deeper")
    return folder / "out"


def _busy(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """A folder that the system does not rename, as it does with a mount."""
    out, rename = _plain(folder, patch), Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path == out:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(path, target)

    patch.setattr(Path, "rename", refuse)
    return out


KINDS = pytest.mark.parametrize("kind", [_plain, _link, _current, _busy])


def _put(out: Path, names: dict[str, str], old: tuple[str, ...] = ()) -> None:
    with exchanged_at_the_end(out, old, last=LAST) as folder:
        for name, text in names.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)


def _content(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): path.read_text() for path in out.rglob("*") if path.is_file()
    }


@KINDS
def test_new_content_takes_the_place_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    out = kind(tmp_path, monkeypatch)
    number, was_link = out.stat().st_ino, out.is_symlink()
    first = {LAST: "1", "fp32.onnx": "a", "int8-onnx/m.onnx": "b", "int8-onnx/m.data": "c"}
    _put(out, first)
    assert _content(out) == first
    second = {LAST: "2", "fp32.onnx": "A", "int8-onnx/m.onnx": "B"}
    _put(out, second, tuple(first))
    assert _content(out) == second
    assert out.is_symlink() == was_link
    if kind is not _plain:
        assert out.stat().st_ino == number, "the folder is no longer the one that it was"
    assert not [path.name for path in (*tmp_path.iterdir(), *out.iterdir()) if path.name[0] == "."]


@pytest.mark.parametrize("kind", [_link, _current, _busy])
def test_only_what_is_named_makes_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    out = kind(tmp_path, monkeypatch)
    (out / "lost+found").mkdir()
    _put(out, {LAST: "1", "a": "1"})
    _put(out, {LAST: "2", "b": "2"}, (LAST, "a", "gone long ago"))
    assert _content(out) == {LAST: "2", "b": "2"}
    assert (out / "lost+found").is_dir()


def _interrupted(out: Path) -> None:
    with exchanged_at_the_end(out, (LAST, "a"), last=LAST) as folder:
        (folder / "a").write_text("2")
        raise KeyboardInterrupt


@KINDS
def test_content_that_was_not_made_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    out = kind(tmp_path, monkeypatch)
    _put(out, {LAST: "1", "a": "1"})
    with pytest.raises(KeyboardInterrupt):
        _interrupted(out)
    assert _content(out) == {LAST: "1", "a": "1"}
    assert not [path.name for path in (*tmp_path.iterdir(), *out.iterdir()) if path.name[0] == "."]


@pytest.mark.parametrize("failing", range(1, 6))
def test_an_exchange_that_fails_in_its_middle_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    out = _link(tmp_path, monkeypatch)
    _put(out, {LAST: "1", "a": "1"})
    rename, calls = Path.rename, 0

    def fail_once(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.EIO, "the disk is gone")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OSError, match="the disk is gone"):
        _put(out, {LAST: "2", "b": "2", "c": "2"}, (LAST, "a"))
    assert _content(out) == {LAST: "1", "a": "1"}
    assert sorted(path.name for path in out.iterdir()) == ["a", LAST]


def test_the_file_that_says_whole_goes_first_and_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _link(tmp_path, monkeypatch)
    names = {"a": "1", LAST: "1", "z": "1"}
    _put(out, names)
    moved: list[str] = []
    rename = Path.rename

    def note(path: Path, target: Path) -> Path:
        moved.append(path.name)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", note)
    _put(out, names, tuple(names))
    assert moved == [LAST, "a", "z", "a", "z", LAST]


def test_what_a_shell_stands_in_is_still_there_for_it(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path\n"
        "from edgeconv.cli.folder_exchange import exchanged_at_the_end\n"
        "with exchanged_at_the_end(Path('.').absolute(), (), last='r') as folder:\n"
        "    (folder / 'r').write_text('x')\n"
        "print(os.getcwd(), os.listdir('.'))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == [str(tmp_path), "['r']"]


def test_a_mount_point_is_written_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = _plain(tmp_path, monkeypatch)
    number = out.stat().st_ino
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == out)
    _put(out, {LAST: "1"})
    assert (_content(out), out.stat().st_ino) == ({LAST: "1"}, number)


# /proc is closed to root too, who has the right to write there.
@pytest.mark.parametrize("named", ["/proc/out", "/proc/out/deeper/still", "file/below"])
def test_where_nothing_can_be_written_is_said_before_anything_is_done(
    tmp_path: Path, named: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeconvError, match="can't be written") as caught:
        check_writable(tmp_path / named)
    assert caught.value.reason is Reason.OUTPUT_UNWRITABLE
    assert caught.value.violations[0].field == "out"
    assert "--out" in caught.value.fix


@pytest.mark.parametrize("named", ["/proc/x.html", "file/x.html", "none/x.html"])
def test_a_file_that_can_not_be_written_is_refused(tmp_path: Path, named: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeconvError, match="can't be written") as caught:
        check_file_writable(tmp_path / named)
    assert caught.value.reason is Reason.OUTPUT_UNWRITABLE
    check_file_writable(tmp_path / "file")
    check_file_writable(tmp_path / "new")
    check_file_writable(Path("/dev/null"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_can_be_written_in_a_closed_one_is_written_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _plain(tmp_path, monkeypatch)
    number = out.stat().st_ino
    monkeypatch.setattr(folder_exchange, "_may_write", lambda folder: folder != tmp_path)
    check_writable(out)
    _put(out, {LAST: "1"})
    assert (_content(out), out.stat().st_ino) == ({LAST: "1"}, number)
