"""Lives of servers: real processes, from their start to their death."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeconv.base.state_folder import Endpoint, read_endpoint
from edgeconv.server.crash_points import SAID
from edgeconv.testing.quick_server import Birth, Orders, orders_of

START_S = 180.0
_END_S = 60.0
_LAST_WORDS_S = 5.0
_CHILD = b"edgeconv.sandbox.entry"


class Life:
    """A server process.

    Attributes:
        pid: Its process.
    """

    def __init__(self, pid: int, birth: Birth) -> None:
        self.pid = pid
        self._birth = birth
        self._dead = asyncio.Event()
        self._said: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._dead.set()
        else:
            asyncio.get_running_loop().add_reader(self._pidfd, self._die)

    @property
    def alive(self) -> bool:
        """Whether it has not died yet."""
        return not self._dead.is_set()

    def hear(self, address: str) -> None:
        """Called when it says where it listens."""
        self._said.set_result(address)

    async def listens(self) -> Endpoint | None:
        """Where it listens, as soon as it does; None when it died before that."""
        died = asyncio.create_task(self.death(START_S))
        waits: list[asyncio.Future[Any]] = [self._said, died]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        died.cancel()
        return read_endpoint(Path(self._birth.state)) if self._said.done() else None

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, unless it is dead."""
        if self.alive:
            signal.pidfd_send_signal(self._pidfd, number)

    def arm(self, crash: str, first: Path) -> None:
        """Has one that listens die at a point, unless another with these orders was the first.

        Args:
            crash: As `crash_points.arm` has it.
            first: The file that the first one makes.
        """
        path = orders_of(Path(self._birth.log))
        path.write_text(json.dumps(asdict(Orders(crash, str(first)))))
        self.send(signal.SIGUSR2)

    async def death(self, within_s: float) -> bool:
        """Waits for its death; whether it came in time."""
        try:
            async with asyncio.timeout(within_s):
                await self._dead.wait()
        except TimeoutError:
            return False
        return True

    async def kill(self) -> None:
        """SIGKILL, and waits until it is dead."""
        self.send(signal.SIGKILL)
        await self._dead.wait()

    async def stop(self) -> None:
        """SIGTERM, and waits until it has ended.

        Raises:
            RuntimeError: It does not end. Its words say where it stands.
        """
        self.send(signal.SIGTERM)
        if not await self.death(_END_S):
            # Where its tasks stand, and then its threads.
            self.send(signal.SIGUSR1)
            await self.death(_LAST_WORDS_S)
            self.send(signal.SIGABRT)
            await self._dead.wait()
            raise RuntimeError(
                f"the server {self.pid} did not end in {_END_S:.0f} s: {self.last_words}"
            )

    @property
    def last_words(self) -> str:
        """What it wrote to its standard error."""
        return Path(self._birth.log).read_text()

    @property
    def last_point(self) -> str:
        """The crash point at which it died; empty when it was another end."""
        last = self.last_words.rpartition(SAID)
        return last[2].strip() if last[1] else ""

    def _die(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._dead.set()


class Nursery:
    """Where servers come from: each begins with all its modules loaded."""

    def __init__(self, process: Process, logs: Path) -> None:
        self._process = process
        self._logs = logs
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._lives: dict[int, Life] = {}
        self._early: dict[int, str] = {}
        self._number = 0
        self._hearing = asyncio.create_task(self._hear())

    async def birth(
        self,
        state: Path,
        crash: str = "",
        *,
        real: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> Life:
        """Starts a server; arguments as of `Birth`."""
        assert self._process.stdin is not None
        self._number += 1
        log = self._logs / f"server-{self._number}.log"
        log.touch()
        birth = Birth(str(state), str(log), crash, real, dict(settings or {}))
        self._process.stdin.write(json.dumps(asdict(birth)).encode() + b"\n")
        async with asyncio.timeout(START_S):
            pid = await self._born.get()
        self._lives[pid] = Life(pid, birth)
        if address := self._early.pop(pid, ""):
            self._lives[pid].hear(address)
        return self._lives[pid]

    async def close(self) -> None:
        """Ends the nursery, and all that came from it and lives."""
        for life in self._lives.values():
            if life.alive:
                await life.kill()
        self._process.kill()
        await self._process.wait()
        await self._hearing

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            pid, word = line.decode().split()
            if word == "born":
                await self._born.put(int(pid))
            elif int(pid) in self._lives:
                self._lives[int(pid)].hear(word)
            else:
                self._early[int(pid)] = word


@asynccontextmanager
async def nursery(logs: Path) -> AsyncIterator[Nursery]:
    """A nursery while the block runs; the servers' words go into a folder."""
    logs.mkdir(exist_ok=True)
    with (logs / "nursery.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edgeconv.testing.quick_server", stdin=PIPE, stdout=PIPE,
            # A fork has none of the threads that its parent had.
            stderr=log, env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    made = Nursery(process, logs)
    try:
        yield made
    finally:
        await made.close()


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
