"""The servers of a trial: one at a time on an embedded database, or two that share one.

Where two share one, both are told where to die, and the first that comes there does: which of
them gets a job is not for a trial to say.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.base.ids import new_id
from edgeconv.base.state_folder import Endpoint, StateFolder
from edgeconv.server.crash_points import ANY, CrashPoint
from edgeconv.server.store.attempts import MAX_LOST_ATTEMPTS
from edgeconv.server.store.steps import MAX_LOST_RUNS
from edgeconv.testing.crashes.life import Life, Nursery, children_of
from edgeconv.testing.crashes.outputs import Book, Stored, read_book, read_store
from edgeconv.testing.crashes.reach import Reach

ORPHAN_S = 5.0
_LOOK_S = 0.05
_RECOVERY_S = 60.0

_AT_BIRTH = (
    CrashPoint.STORE_OPENED, CrashPoint.SCRATCH_SWEPT, CrashPoint.EXECUTOR_KNOWN,
    CrashPoint.LEFT_JOBS_CANCELLED, CrashPoint.LEFT_JOBS_RESUMED, CrashPoint.LOST_JOBS_STARTED,
    CrashPoint.LISTENING, CrashPoint.CONVERSION_FAILED, ANY,
)  # fmt: skip
"""Points that a server may come to before it can be told to die there."""


@dataclass(frozen=True)
class Kill:
    """How a server is to die: at a point for the nth time, or so long after it listens."""

    point: str = ""
    number: int = 1
    after_s: float = 0.0


@dataclass(frozen=True)
class Death:
    """How it died.

    Attributes:
        server: Its process.
        point: The crash point that it died at; empty for one that was killed from outside.
        recorded: The steps that were recorded then, each with its token: one that is claimed
            again gets another.
        fault: Its last words, when it ended though nobody killed it.
    """

    kill: Kill
    server: int
    point: str
    recorded: Mapping[str, int]
    fault: str = ""


@dataclass(frozen=True)
class Up:
    """A server that listens."""

    life: Life
    endpoint: Endpoint
    state: Path


class Servers:
    """Starts servers, kills them, and keeps the book on it.

    Args:
        nursery: Where they come from.
        database: URL of a database that two servers share; empty for one server and its own.
        patience_s: How long a server may take to come to the point where it is to die.

    Attributes:
        url: The store's database.
        blobs: The folder of blobs.
        ended_ns: When each server ended, by process.
        orphans: What each killed one left behind for too long.
    """

    def __init__(
        self,
        folder: Path,
        reach: Reach,
        nursery: Nursery,
        *,
        database: str = "",
        real: bool = False,
        settings: Mapping[str, Any] | None = None,
        patience_s: float = 60.0,
    ) -> None:
        own = StateFolder(folder / "state")
        self.url = database or f"sqlite:///{own.database}"
        self.blobs = folder / "blobs" if database else own.blobs
        self.ended_ns: dict[int, int] = {}
        self.orphans: list[asyncio.Task[list[str]]] = []
        self._folder = folder
        self._reach = reach
        self._nursery = nursery
        self._real = real
        self._shared = bool(database)
        self._settings = dict(settings or {})
        if database:
            self._settings["database"] = database
        self._patience_s = patience_s
        self._free = own.root
        self._standing: Up | None = None
        self._lives: list[Life] = []

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Servers can be had while the block runs; where two share a database, one is up."""
        try:
            if self._shared:
                self._standing = await self._up(self._folder / "state-of-the-other")
            yield
            await self._sit_down()
        finally:
            for life in self._lives:
                await life.kill()

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """A server that is not killed."""
        up = None if self._shared else self._standing
        if up is None:
            up = await self._up(self._free)
        try:
            yield
        finally:
            if up is self._standing:
                self._standing = None
            await self._down(up)

    @property
    def standing(self) -> Up:
        """The one that is up for the whole time, where two share a database."""
        assert self._standing is not None
        return self._standing

    def gone(self, up: Up) -> None:
        """The one that stood there has ended by itself."""
        self.ended_ns[up.life.pid] = time.time_ns()
        self._standing = None

    async def live(self, kill: Kill, lead: Callable[[], Awaitable[None]]) -> Death:
        """Has a server killed. `lead` is begun when it listens: it leads to where it dies."""
        if kill.point in _AT_BIRTH or (
            # Where two share a database, not when they begin.
            kill.point == CrashPoint.OTHERS_DECLARED_DEAD and not self._shared
        ):
            victim, fault = await self._live_from_birth(kill, lead)
        else:
            victim, fault = await self._live_on(kill, lead)
        self._note_end(victim)
        book = await self._read_book()
        if _near_giving_up(book):
            await self._recover()
        return Death(kill, victim.pid, victim.last_point, book.recorded, fault)

    async def read(self) -> Stored:
        """What stands in the store now."""
        return await asyncio.to_thread(read_store, self.url)

    async def birth(self, state: Path, crash: str = "") -> Life:
        """Starts a server on a state folder."""
        if self._shared:
            # All servers of one database have the same files.
            self.blobs.mkdir(exist_ok=True)
            state.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileExistsError):
                StateFolder(state).blobs.symlink_to(self.blobs)
        life = await self._nursery.birth(state, crash, real=self._real, settings=self._settings)
        self._lives.append(life)
        return life

    async def _live_from_birth(
        self, kill: Kill, lead: Callable[[], Awaitable[None]]
    ) -> tuple[Life, str]:
        """Kills a new one, which knows from the first where it is to die."""
        if not self._shared:
            await self._sit_down()
        life = await self.birth(self._free, f"{kill.point}:{kill.number}")
        endpoint = await life.listens()
        if endpoint is not None:
            self._reach.add(endpoint)
            await lead()
            await life.death(self._patience_s)
            self._reach.remove(endpoint)
        fault = _fault(life)
        await life.kill()
        return life, fault

    async def _live_on(self, kill: Kill, lead: Callable[[], Awaitable[None]]) -> tuple[Life, str]:
        """Kills one of those that listen, and the other one, where there is one, goes on."""
        ups = [self._standing] if self._standing is not None else []
        if self._shared or not ups:
            ups.append(await self._up(self._free))
        if kill.point:
            dead = await self._first_at(kill, ups, lead)
        else:
            await lead()
            dead = ups[0]
            await dead.life.death(kill.after_s)
        self._reach.remove(dead.endpoint)
        fault = _fault(dead.life)
        await dead.life.kill()
        self._free = dead.state
        self._standing = next((up for up in ups if up is not dead), None)
        return dead.life, fault

    async def _first_at(
        self, kill: Kill, ups: Sequence[Up], lead: Callable[[], Awaitable[None]]
    ) -> Up:
        """The one that dies at a point; the last one when nobody comes there in time."""
        first = self._folder / f"first-{new_id()}"
        for up in ups:
            up.life.arm(f"{kill.point}:{kill.number}", first)
        await lead()
        if kill.point == CrashPoint.OTHERS_DECLARED_DEAD:
            await self._lose_another()
        if kill.point == CrashPoint.EXECUTOR_RETIRED:
            ups[-1].life.send(signal.SIGTERM)
        dead = await _first_dead(ups, self._patience_s)
        if dead is None:
            try:
                first.touch(exist_ok=False)
            except FileExistsError:
                # Just now, after all.
                dead = await _first_dead(ups, self._patience_s)
        return dead or ups[-1]

    async def _lose_another(self) -> None:
        """Kills one more, which others may declare dead."""
        up = await self._up(self._folder / "state-of-another")
        self._reach.remove(up.endpoint)
        await up.life.kill()
        self._note_end(up.life)

    def _note_end(self, life: Life) -> None:
        self.ended_ns[life.pid] = time.time_ns()
        self.orphans.append(asyncio.create_task(_orphans(life.pid)))

    async def _up(self, state: Path) -> Up:
        life = await self.birth(state)
        endpoint = await life.listens()
        if endpoint is None:
            raise RuntimeError(f"a server died: {life.last_words}")
        self._reach.add(endpoint)
        return Up(life, endpoint, state)

    async def _down(self, up: Up) -> None:
        self._reach.remove(up.endpoint)
        if not up.life.alive:
            raise RuntimeError(f"a server died: {up.life.last_words[-2000:]}")
        await up.life.stop()
        self.ended_ns[up.life.pid] = time.time_ns()

    async def _sit_down(self) -> None:
        if self._standing is not None:
            await self._down(self._standing)
            self._standing = None

    async def _recover(self) -> None:
        """Lets end what servers have died over: a few more, and it would be given up."""
        deadline = time.monotonic() + _RECOVERY_S
        if self._standing is None:
            self._standing = await self._up(self._free)
        while _near_giving_up(await self._read_book()) and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_S)

    async def _read_book(self) -> Book:
        return await asyncio.to_thread(read_book, self.url)


def _near_giving_up(book: Book) -> bool:
    """Whether a service would soon hold a step or a job for what its servers die of."""
    return book.lost_runs >= MAX_LOST_RUNS - 1 or book.lost_attempts >= MAX_LOST_ATTEMPTS - 2


def _fault(life: Life) -> str:
    """What a server says that has ended though nobody has killed it yet."""
    return "" if life.alive or life.last_point else life.last_words[-2000:]


async def _first_dead(ups: Sequence[Up], within_s: float) -> Up | None:
    waits = [asyncio.create_task(up.life.death(within_s)) for up in ups]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)
    return next((up for up in ups if not up.life.alive), None)


async def _orphans(server: int) -> list[str]:
    """Children that outlive their server by too much."""
    deadline = time.monotonic() + ORPHAN_S
    while left := await asyncio.to_thread(children_of, server):
        if time.monotonic() > deadline:
            return [f"{child} of server {server}" for child in left]
        await asyncio.sleep(_LOOK_S)
    return []
