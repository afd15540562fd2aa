"""The state folder: where everything lies that a server on this machine keeps.

server.json   where the running server listens; there only while it listens
port          where the last server listened; the next one takes it, if it may choose
token         the bearer token of local callers, readable by its owner only
lock          held by the server that uses the folder; names its process
edgeconv.db   the embedded database
dispatch.db   the queues of jobs; made anew from edgeconv.db when it is gone
blobs/        files by digest
scratch/      folders of job children; emptied when a server starts
server.log    what a server logged that ran in a terminal
agent/        what the agent of this machine keeps
users         held by the commands that use the server; see `cli.attached`
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeconv.base.disk import disk_error
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import new_id
from edgeconv.base.writable import nearest_place, why_unwritable

_PROBES_S = 1.0
"""How long a server waits for the lock: a client that looks whether it is held takes it
for a moment."""


@dataclass(frozen=True)
class Endpoint:
    """Where a server is reached: "host:port", and the token that its callers show."""

    address: str
    token: str


@dataclass(frozen=True)
class StateFolder:
    """Paths in a state folder; makes nothing by itself."""

    root: Path

    @property
    def endpoint(self) -> Path:
        return self.root / "server.json"

    @property
    def port(self) -> Path:
        return self.root / "port"

    @property
    def token(self) -> Path:
        return self.root / "token"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def database(self) -> Path:
        return self.root / "edgeconv.db"

    @property
    def dispatch(self) -> Path:
        return self.root / "dispatch.db"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def users(self) -> Path:
        return self.root / "users"

    @property
    def log(self) -> Path:
        return self.root / "server.log"

    @property
    def agent(self) -> Path:
        return self.root / "agent"


def default_state_folder() -> Path:
    """$EDGECONV_STATE, else edgeconv below $XDG_STATE_HOME, else ~/.local/state/edgeconv."""
    if named := os.environ.get("EDGECONV_STATE"):
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "edgeconv"


def read_endpoint(state: Path) -> Endpoint | None:
    """The server that runs on a state folder, or None when none does.

    What a killed server left behind does not count: the folder's lock tells.
    """
    folder = StateFolder(state)
    if not _is_locked(folder.lock):
        return None
    try:
        address = json.loads(folder.endpoint.read_text())["address"]
        return Endpoint(str(address), folder.token.read_text().strip())
    except (OSError, ValueError, KeyError):
        return None


def write_endpoint(state: Path, address: str, *, version: str) -> Endpoint:
    """Tells clients on this machine where the server listens; the file appears whole.

    Raises:
        EdgeconvError: DISK_FULL, DISK_FAILED.
    """
    folder = StateFolder(state)
    text = json.dumps({"address": address, "pid": os.getpid(), "version": version})
    with _disk_errors(state):
        folder.port.write_text(f"{address.rpartition(':')[2]}\n")
        beside = folder.endpoint.with_suffix(".new")
        beside.write_text(text + "\n")
        beside.replace(folder.endpoint)
    return Endpoint(address, folder.token.read_text().strip())


def last_port(state: Path) -> int:
    """Where the last server of the folder listened; 0 when that is not known."""
    try:
        return int(StateFolder(state).port.read_text())
    except (OSError, ValueError):
        return 0


def clear_endpoint(state: Path) -> None:
    """Takes back what `write_endpoint` told."""
    StateFolder(state).endpoint.unlink(missing_ok=True)


def ensure_token(state: Path) -> str:
    """The folder's token; made on first use, readable by its owner only.

    For the process that holds the folder's lock.

    Raises:
        EdgeconvError: DISK_FULL, DISK_FAILED.
    """
    path = StateFolder(state).token
    with _disk_errors(state):
        if not path.exists():
            # Whole or not at all: anybody can guess the beginning of a token.
            beside = path.with_suffix(f".{new_id()}")
            fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(fd, "w") as stream:
                    stream.write(secrets.token_urlsafe(32) + "\n")
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        return path.read_text().strip()


def make_state_folder(state: Path) -> None:
    """Makes the folder, for its owner only, if it is not there.

    Raises:
        EdgeconvError: STATE_UNWRITABLE.
    """
    why = why_unwritable(nearest_place(state))
    if not why:
        try:
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            why = error.strerror or str(error)
    if why:
        raise EdgeconvError(
            Reason.STATE_UNWRITABLE,
            f"The state folder {str(state)!r} can't be used: {why}.",
            fix="Name another one with --state or EDGECONV_STATE, or give the right to write"
            " there.",
            state=state,
        )


@contextmanager
def locked(state: Path) -> Iterator[StateFolder]:
    """Makes the folder if needed and holds its lock, as a server does while it runs.

    Raises:
        EdgeconvError: STATE_LOCKED with the process that holds it; STATE_UNWRITABLE; DISK_FULL,
            DISK_FAILED.
    """
    make_state_folder(state)
    folder = StateFolder(state)
    with _disk_errors(state):
        fd = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _acquire(fd, folder.lock)
        with _disk_errors(state):
            os.ftruncate(fd, 0)
            os.pwrite(fd, str(os.getpid()).encode(), 0)
            clear_endpoint(state)
        try:
            yield folder
        finally:
            clear_endpoint(state)
    finally:
        os.close(fd)


@contextmanager
def _disk_errors(state: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        known = disk_error(error, state, doing="writing the state folder")
        raise known or error from error


def _acquire(fd: int, path: Path) -> None:
    deadline = time.monotonic() + _PROBES_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                break
        time.sleep(0.02)
    holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
    raise EdgeconvError(
        Reason.STATE_LOCKED,
        f"Process {holder} runs a server on {str(path.parent)!r}.",
        fix="Use that server, stop it, or name another folder with --state or EDGECONV_STATE.",
        pid=holder,
        state=path.parent,
    )


def _is_locked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
