"""One life of a server: a real process, from its start to its death."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edgeconv.base.state_folder import Endpoint, read_endpoint
from edgeconv.server.crash_points import SAID

START_S = 60.0
_END_S = 30.0
_CHILD = b"edgeconv.sandbox.entry"


@dataclass(frozen=True)
class Place:
    """Where a server lives.

    Attributes:
        state: Its state folder.
        log: Where its standard error goes, life after life.
        flags: For `quick_server`.
    """

    state: Path
    log: Path
    flags: Sequence[str] = ()


class Life:
    """A server process."""

    def __init__(self, place: Place, process: Process, log_begin: int) -> None:
        self._place = place
        self._process = process
        self._log_begin = log_begin
        self._dying = asyncio.create_task(self._die())

    @classmethod
    async def prepare(cls, place: Place) -> Self:
        """Starts a process that is ready to become a server: it takes up no place yet."""
        with place.log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "edgeconv.testing.quick_server", str(place.state),
                *place.flags, stdin=PIPE, stdout=PIPE, stderr=log,
            )  # fmt: skip
            return cls(place, process, log.tell())

    async def begin(self, crash: str) -> Endpoint | None:
        """Becomes a server that dies as `crash` says, in the form that `crash_points` has.

        Returns:
            Where it listens, or None when it died before that.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{crash}\n".encode())
        async with asyncio.timeout(START_S):
            if not await self._process.stdout.readline():
                return None
        return read_endpoint(self._place.state)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not died yet."""
        return self._process.returncode is None

    @property
    def status(self) -> int | None:
        """How it ended: -9 for one that was killed."""
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    async def death(self, within_s: float) -> bool:
        """Waits for its death; whether it came in time."""
        await asyncio.wait([self._dying], timeout=within_s)
        return self._dying.done()

    async def kill(self) -> None:
        """SIGKILL, and waits until it is dead."""
        if self.alive:
            self._process.kill()
        await self._dying

    async def stop(self) -> None:
        """SIGTERM, and waits until it has ended; SIGKILL for one that does not."""
        if self.alive:
            self._process.terminate()
        if not await self.death(_END_S):
            await self.kill()
            raise RuntimeError(f"the server {self.pid} did not end in {_END_S:.0f} s")

    @property
    def last_point(self) -> str:
        """The crash point at which it ended; empty when it was another end."""
        with self._place.log.open("rb") as log:
            log.seek(self._log_begin)
            said = log.read().decode(errors="replace")
        last = said.rpartition(f"{self.pid} {SAID}")
        return last[2].partition("\n")[0] if last[1] else ""

    async def _die(self) -> None:
        await self._process.wait()


def children_of(server: int) -> list[int]:
    """Job children that live of a server, be it dead or not."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")[:-1]
            except OSError:
                continue
            # The last word tells a child whose it is.
            if _CHILD in words and words[-1] == str(server).encode():
                found.append(int(process.name))
    return found
