"""How an agent is set up, and what it keeps over restarts."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import new_id, parse_name
from edgeconv.base.state_folder import make_state_folder

GIB = 1024**3
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class AgentSettings:
    """How an agent is set up.

    Attributes:
        server: "host:port" of the server that it calls.
        state: Folder of its own: its id, its cache, its work; made when absent.
        token: The bearer token; empty with `token_file`, or when none is needed.
        token_file: Read at each start instead of `token`.
        device: "devices/{device}", the name of this machine; empty is the host's name.
        labels: For selectors, as its operator gives them.
        cache_bytes: How much of fetched artifacts it keeps.
    """

    server: str
    state: Path
    token: str = ""
    token_file: Path | None = None
    device: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    cache_bytes: int = 4 * GIB

    def device_name(self) -> str:
        """The device's resource name.

        Raises:
            EdgeconvError: FIELD_INVALID.
        """
        if not self.device:
            return f"devices/{name_of_host(platform.node())}"
        name = self.device if "/" in self.device else f"devices/{self.device}"
        parse_name(name, "devices/*", field="device")
        return name

    def read_token(self) -> str:
        """The token to show.

        Raises:
            EdgeconvError: FIELD_INVALID when the token file can't be read.
        """
        if self.token_file is None:
            return self.token
        try:
            return self.token_file.read_text().strip()
        except OSError as error:
            raise EdgeconvError(
                Reason.FIELD_INVALID,
                f"The token file {str(self.token_file)!r} can't be read: {error.strerror}.",
                path=self.token_file,
            ) from None


def name_of_host(host: str) -> str:
    """A host's name as a segment of a resource name; "this-machine" when nothing is left."""
    short = re.sub(r"[^a-z0-9._-]+", "-", host.split(".")[0].lower()).strip("-._")
    return short[:63] or "this-machine"


@dataclass(frozen=True)
class OwnState:
    """Who an agent is.

    Attributes:
        agent: Its id, kept in the folder over restarts, and copied with it.
        place: Where it runs: another one for a copy of the folder and after a restart of the
            machine. The folder's lock lets only one agent run in a place.
    """

    agent: str
    place: str


@contextmanager
def held_state(state: Path) -> Iterator[OwnState]:
    """Makes the folder, holds its lock, and says who the agent is.

    Raises:
        EdgeconvError: STATE_LOCKED when another agent runs on the folder; STATE_UNWRITABLE.
    """
    make_state_folder(state)
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EdgeconvError(
                Reason.STATE_LOCKED,
                f"Another agent runs on {str(state)!r}.",
                fix="Stop it, or give this one a folder of its own.",
                state=state,
            ) from None
        yield OwnState(_own_id(state / "agent.json"), _place(descriptor))
    finally:
        os.close(descriptor)


def _place(lock: int) -> str:
    """Names this boot of this machine, and the lock's file; copies of either differ."""
    try:
        boot = _BOOT.read_text()
    except OSError:
        boot = f"{platform.node()} {uuid.getnode()}"
    status = os.fstat(lock)
    return digest_bytes(f"{boot} {status.st_dev} {status.st_ino}".encode())


def _own_id(path: Path) -> str:
    """The id in the file; a new one where there is none or the file is damaged."""
    try:
        agent = json.loads(path.read_text())["agent"]
        if isinstance(agent, str) and agent:
            return agent
    except (OSError, ValueError, KeyError, TypeError):
        pass
    agent = new_id()
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"agent": agent}) + "\n")
    beside.replace(path)
    return agent
