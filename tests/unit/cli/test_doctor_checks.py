"""What `doctor` finds wrong, and what it says to do."""

from __future__ import annotations

import socket
from pathlib import Path

import click
import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.lock import exclusive_lock
from edgeconv.cli import checks
from edgeconv.cli.connect import Where
from edgeconv.sandbox.walls import LANDLOCK, Walls

_REQUIREMENTS = ["click>=8", 'torch==2.13.0 ; extra == "server"', "onnx==1.23.2; extra == 'server'"]


def test_python() -> None:
    assert checks.check_python((3, 11), "Linux").state == "ok"
    assert checks.check_python((3, 10), "Linux").state == "fail"
    assert checks.check_python((3, 13), "Darwin").state == "warn"


def test_a_missing_extra_comes_with_its_install_line() -> None:
    assert checks.check_extra("ort", []).state == "ok"
    check = checks.check_extra("ort", ["onnxruntime"])
    assert check.state == "warn"
    assert "pip install 'edgeconv[ort]'" in check.fix


def test_pins() -> None:
    right = checks.check_pins(_REQUIREMENTS, {"torch": "2.13.0+cpu", "onnx": "1.23.2"})
    assert (right.state, right.message) == ("ok", "2 of 2 pinned packages, all as pinned")
    wrong = checks.check_pins(_REQUIREMENTS, {"torch": "2.14.0"})
    assert wrong.state == "fail"
    assert "torch 2.14.0 instead of 2.13.0" in wrong.message
    assert checks.check_pins(_REQUIREMENTS, {}).state == "ok"


def test_walls_that_stand() -> None:
    found = list(checks.check_walls(Walls(landlock=7, seccomp=True)))
    assert [(check.name, check.state) for check in found] == [
        ("landlock", "ok"), ("seccomp", "ok"), ("walls", "ok"),
    ]  # fmt: skip
    assert "version 7" in found[0].message


def test_a_missing_wall_is_told_with_its_reason_and_what_follows() -> None:
    missing = Walls(seccomp=True, reasons={LANDLOCK: "Function not implemented"})
    landlock, seccomp, walls = checks.check_walls(missing)
    assert (landlock.state, seccomp.state, walls.state) == ("warn", "ok", "warn")
    assert "Function not implemented" in landlock.message
    assert "read and write all files" in walls.message
    assert "newer kernel" in walls.fix


def test_a_child_that_can_not_be_started_is_a_failure() -> None:
    (found,) = checks.check_walls(EdgeconvError(Reason.CHILD_DIED, "It died."))
    assert found.state == "fail"
    assert "It died." in found.message


def test_the_lock_is_seen_to_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeconv.bench.lock.machine_folder", lambda: tmp_path)
    assert checks.check_lock().message.startswith("free")
    with exclusive_lock(lambda fraction, words: None):
        assert checks.check_lock().message.startswith("held now")
    assert checks.check_lock().message.startswith("free")


def test_state_folder(tmp_path: Path) -> None:
    assert checks.check_state_folder(tmp_path / "none").state == "ok"
    tmp_path.chmod(0o700)
    assert checks.check_state_folder(tmp_path).state == "ok"
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o777)
    assert checks.check_state_folder(tmp_path).state == "warn"
    file = tmp_path / "file"
    file.touch()
    for bad in (file, file / "below", Path("/proc/edgeconv")):
        assert checks.check_state_folder(bad).state == "fail"


def test_disk_looks_at_the_nearest_folder_that_is_there(tmp_path: Path) -> None:
    assert str(tmp_path) in checks.check_disk(tmp_path / "a" / "b").message


def test_no_server_is_fine_and_a_dead_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGECONV_SERVER", raising=False)
    assert checks.check_server(Where(None, tmp_path)).state == "ok"
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setattr("edgeconv.client.aio._CONNECT_S", 0.5)
    with click.Context(click.Command("doctor")):
        assert checks.check_server(Where(address, tmp_path)).state == "fail"
