"""A server that is lost in the middle of `edgeconv convert`: said at once, gone on with later."""

from __future__ import annotations

import io
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.exit_codes import ExitCode
from edgeconv.base.state_folder import read_endpoint
from edgeconv.cli.conversion_run import follow
from edgeconv.cli.terminal import Terminal
from edgeconv.client.patience import Patience
from edgeconv.client.sync import Client
from edgeconv.testing.tiny_files import write_dense_onnx

_LIMIT_S = 240
_FLAGS = ("--target", "onnx", "--precision", "fp32", "--device", "any")


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], subprocess.Popen[str]]:
    """Starts a server, always on the same state folder and port, and waits until it listens."""
    state = tmp_path_factory.mktemp("state")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def start() -> subprocess.Popen[str]:
        command = _command("serve", "--state", state, "--listen", address, "--json")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["state"] == str(state)
        return process

    return start


def _command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "edgeconv", *map(str, words)]


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    with process:
        try:
            yield process
        finally:
            process.kill()


def _state_of(server: subprocess.Popen[str]) -> Path:
    words = [str(word) for word in server.args]  # type: ignore[union-attr]
    return Path(words[words.index("--state") + 1])


def _until(stream: Iterator[str] | None, words: str) -> str:
    """Reads lines until one holds the words."""
    assert stream is not None
    read = ""
    for line in stream:
        read += line
        if words in line:
            return read
    raise AssertionError(f"{words!r} never came:\n{read}")


def test_a_lost_server_is_said_and_the_watch_goes_on_without_repeats(
    serve: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    model = write_dense_onnx(tmp_path / "dense.onnx")
    server = serve()
    state = _state_of(server)
    convert = subprocess.Popen(
        _command("convert", model, *_FLAGS, "--state", state, "--out", tmp_path / "out"),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with _ended(convert):
        with _ended(server):
            said = _until(convert.stderr, "no registered device matches 'any'")
            assert "fp32.onnx  no registered device matches" in said
            server.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            lost = _until(convert.stderr, "Lost the server at 127.0.0.1:")
            assert time.monotonic() - killed < 2
            assert "trying again" in lost
        with _ended(serve()) as again:
            after = _until(convert.stderr, "answers again")
            # A server that hangs, or whose machine is gone, sends no word: it is asked.
            again.send_signal(signal.SIGSTOP)
            _until(convert.stderr, "Lost the server at 127.0.0.1:")
            again.send_signal(signal.SIGCONT)
            after += _until(convert.stderr, "answers again")
            job = json.loads(
                subprocess.check_output(_command("jobs", "list", "--state", state, "--json"))
            )["jobs"][0]
            subprocess.check_call(
                _command("jobs", "cancel", job["name"], "--state", state),
                stdout=subprocess.DEVNULL,
            )
            assert convert.stderr is not None
            after += convert.stderr.read()
            assert convert.wait(_LIMIT_S) == 130, said + after
    assert "fp32.onnx  verified" in said
    assert "verified" not in after
    assert "Measuring" not in after
    assert f"No files were written; `edgeconv jobs download {job['name']}`" in " ".join(
        after.split()
    )


def test_when_patience_ends_it_is_an_error_that_names_how_to_go_on(
    serve: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    with _ended(serve()) as server:
        endpoint = read_endpoint(_state_of(server))
        assert endpoint is not None
        patience = Patience(limit_s=0.5)
        with Client.connect(endpoint.address, endpoint.token, patience=patience) as client:
            model = write_dense_onnx(tmp_path / "dense.onnx")
            version = client.create_model_version("models/lost", [model])
            client.wait_model_version(version.name)
            made = client.create_conversion(version.name, device_selector="any")
            server.kill()
            server.wait()
            terminal = Terminal()
            terminal.err = Console(file=io.StringIO())
            with pytest.raises(EdgeconvError) as caught:
                follow(client, made.name, terminal, cancel_on_interrupt=False)
            assert caught.value.reason is Reason.SERVER_UNREACHABLE
            assert caught.value.exit_code is ExitCode.INFRASTRUCTURE
            assert f"edgeconv jobs watch {made.name}" in caught.value.fix
