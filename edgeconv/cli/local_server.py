"""A server and an agent that live as long as a command uses them."""

from __future__ import annotations

import json
import selectors
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.attached import Users, attached
from edgeconv.cli.connect import Where
from edgeconv.cli.extras import require_extra
from edgeconv.cli.own_process import own_command, own_environment

if TYPE_CHECKING:
    from edgeconv.base.state_folder import Endpoint
    from edgeconv.cli.terminal import Terminal

READY_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
_LOG = "up.log"


@contextmanager
def running_server(server: str | None, state: Path, terminal: Terminal) -> Iterator[Endpoint]:
    """The server named, the one that runs on the state folder, or one of this command's own.

    Its own one ends with the block, and with this process however it ends; when other
    commands have come to it meanwhile, with the last of them.

    Raises:
        EdgeconvError: why no server could be started.
    """
    where = Where(server, state)
    if server and (named := where.find()):
        yield named
        return
    with attached(state) as users:
        if found := where.find():
            yield found
            return
        require_extra("server", "A server on this machine")
        terminal.say("Starting a server and an agent for this machine …", style="dim")
        with _own_server(where, users, terminal) as endpoint:
            yield endpoint


@contextmanager
def _own_server(where: Where, users: Users, terminal: Terminal) -> Iterator[Endpoint]:
    state = where.state
    process = _start(state)
    try:
        try:
            _await_ready(process, state)
        except EdgeconvError as error:
            if error.reason is not Reason.STATE_LOCKED:
                raise
            terminal.say("Another command starts a server there; waiting for it …", style="dim")
            _await_other(where, error)
        endpoint = where.find()
        if endpoint is None:
            raise EdgeconvError(
                Reason.INTERNAL, "The server that was started can't be found.", state=state
            )
        yield endpoint
    finally:
        _give_up(process, users, terminal)


def _give_up(process: subprocess.Popen[bytes], users: Users, terminal: Terminal) -> None:
    """Ends the server, or leaves it to the other commands that use it."""
    users.leave()
    if not users.shut_out() and users.may_join():
        terminal.say("Another command uses the server, which ends with that one.", style="dim")
        return
    _stop(process)


def _start(state: Path) -> subprocess.Popen[bytes]:
    with (state / _LOG).open("wb") as log:
        return subprocess.Popen(
            own_command("up", "--state", str(state), "--json", "--while-used"),
            env=own_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            # A group of its own: Ctrl-C reaches this command, which then cancels its job
            # on a server that still answers.
            start_new_session=True,
        )


def _await_ready(process: subprocess.Popen[bytes], state: Path) -> None:
    """Waits for the line that says it is ready.

    Raises:
        EdgeconvError: the error that it printed instead; what became of it.
    """
    text = _read_document(process)
    try:
        document: dict[str, Any] = json.loads(text)
    except ValueError:
        document = {}
    if "error" in document:
        raise EdgeconvError.from_json(document["error"])
    if not document.get("ready"):
        raise EdgeconvError(
            Reason.INTERNAL,
            f"The server of this command did not start; {str(state / _LOG)!r} says more.",
            fix="`edgeconv doctor` looks for the cause.",
            log=state / _LOG,
        )


def _await_other(where: Where, locked: EdgeconvError) -> None:
    """Waits until the server that holds the state folder listens.

    Raises:
        EdgeconvError: `locked`, when it does not in time.
    """
    deadline = time.monotonic() + READY_LIMIT_S
    while where.find() is None:
        if time.monotonic() > deadline:
            raise locked
        time.sleep(0.1)


def _read_document(process: subprocess.Popen[bytes]) -> bytes:
    """What the process prints until it is ready (one line) or ends."""
    stream = process.stdout
    assert stream is not None
    deadline = time.monotonic() + READY_LIMIT_S
    read = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                break
            chunk = stream.read1(65536)  # type: ignore[attr-defined]
            read += chunk
            if not chunk or (read.startswith(b'{"ready"') and read.endswith(b"\n")):
                break
    return read


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        if process.stdout:
            process.stdout.close()
