"""Commands that share a server which one of them started for itself: real processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from edgeconv.base.state_folder import StateFolder, read_endpoint
from edgeconv.testing.tiny_files import write_dense_onnx

_LIMIT_S = 240
_FLAGS = ("--target", "onnx", "--precision", "fp32", "--device", "none", "--json")


@contextmanager
def _convert(state: Path, folder: Path, seed: int) -> Iterator[subprocess.Popen[str]]:
    """A conversion, stopped in its middle while the server goes on."""
    model = write_dense_onnx(folder / f"dense{seed}.onnx", seed=seed)
    words = ["convert", model, *_FLAGS, "--state", state, "--out", folder / f"out{seed}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeconv", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            assert process.stderr is not None
            said = ""
            while "Reading" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            process.send_signal(signal.SIGSTOP)
            yield process
        finally:
            process.kill()


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it prints when it goes on."""
    process.send_signal(signal.SIGCONT)
    return process.communicate(timeout=_LIMIT_S)


def _pid(state: Path) -> int:
    pid = json.loads(StateFolder(state).endpoint.read_text())["pid"]
    assert isinstance(pid, int)
    return pid


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and not _is_zombie(pid):
        assert time.monotonic() < deadline, f"{pid} runs on"
        time.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    # In a container nobody may reap what was left behind.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("first_ends", ["by itself", "by SIGKILL"])
def test_the_server_ends_with_the_last_command_that_uses_it(
    tmp_path: Path, first_ends: str
) -> None:
    state = tmp_path / "state"
    with ExitStack() as stack:
        first = stack.enter_context(_convert(state, tmp_path, 1))
        server = _pid(state)
        second = stack.enter_context(_convert(state, tmp_path, 2))
        assert _pid(state) == server
        if first_ends == "by itself":
            _, said = _end(first)
            assert first.returncode == 0, said
            assert "Another command uses the server" in said
        else:
            first.kill()
            first.wait()
        printed, said = _end(second)
        assert second.returncode == 0, said
        assert "Starting a server" not in said
        assert json.loads(printed)["state"] == "succeeded"
    _await_end(server)
    assert read_endpoint(state) is None


def test_the_second_one_may_end_before_the_first(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with ExitStack() as stack:
        first = stack.enter_context(_convert(state, tmp_path, 1))
        server = _pid(state)
        second = stack.enter_context(_convert(state, tmp_path, 2))
        assert "Another command" not in _end(second)[1]
        assert second.returncode == 0
        assert _pid(state) == server
        _, said = _end(first)
        assert first.returncode == 0, said
        assert "Another command" not in said
        # Nobody else uses it: the command that started it has seen its end.
        assert not Path(f"/proc/{server}").exists()


def test_a_command_that_comes_while_the_server_ends_starts_its_own(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with _convert(state, tmp_path, 1) as first:
        server = _pid(state)
        first.kill()
        first.wait()
        with _convert(state, tmp_path, 2) as second:
            _, said = _end(second)
            assert second.returncode == 0, said
            _await_end(server)
    assert read_endpoint(state) is None


def test_two_at_once_on_a_new_folder_both_end_right(tmp_path: Path) -> None:
    state = tmp_path / "state"
    model = write_dense_onnx(tmp_path / "dense.onnx")
    command = [sys.executable, "-m", "edgeconv", "convert", model, *_FLAGS, "--state", state]
    processes = [
        subprocess.Popen(
            [*map(str, command), "--out", str(tmp_path / f"out{number}")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=_LIMIT_S) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    # Each may have begun to start one; the folder's lock lets one live.
    results = [json.loads(printed) for printed, _ in said]
    assert [result["state"] for result in results] == ["succeeded", "succeeded"]
    first, second = ([v["files"] for v in result["variants"]] for result in results)
    assert [f["digest"] for files in first for f in files] == [
        f["digest"] for files in second for f in files
    ]
    deadline = time.monotonic() + 30
    while read_endpoint(state) is not None:
        assert time.monotonic() < deadline, "a server was left behind"
        time.sleep(0.05)
