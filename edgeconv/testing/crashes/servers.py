"""The servers of a trial: one at a time on an embedded database, or two that share one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.base.state_folder import Endpoint, StateFolder
from edgeconv.server.store.attempts import MAX_LOST_ATTEMPTS
from edgeconv.server.store.steps import MAX_LOST_RUNS
from edgeconv.testing.crashes.life import Life, Nursery, children_of, nursery
from edgeconv.testing.crashes.outputs import Stored, read_store
from edgeconv.testing.crashes.reach import Reach

ORPHAN_S = 5.0
_LOOK_S = 0.05
_RECOVERY_S = 60.0


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
    """

    kill: Kill
    server: int
    point: str
    recorded: Mapping[str, int]


@dataclass(frozen=True)
class Up:
    """A server that listens."""

    life: Life
    endpoint: Endpoint
    state: Path


class Servers:
    """Starts servers, kills them, and keeps the book on it.

    Args:
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
        self._real = real
        self._shared = bool(database)
        self._settings = dict(settings or {})
        if database:
            self._settings["database"] = database
        self._patience_s = patience_s
        self._free = own.root
        self._peer: Up | None = None
        self._nursery: Nursery | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Servers can be had while the block runs; where two share a database, one is up."""
        async with nursery(self._folder / "logs") as self._nursery:
            if self._shared:
                self._peer = await self._up(self._folder / "state-of-the-other")
            yield
            if self._peer is not None:
                await self._down(self._peer)

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """A server that is not killed."""
        up = await self._up(self._free)
        try:
            yield
        finally:
            await self._down(up)

    @property
    def standing(self) -> Up:
        """The one that is up for the whole time, where two share a database."""
        assert self._peer is not None
        return self._peer

    def gone(self, up: Up) -> None:
        """The one that stood there has ended by itself."""
        self.ended_ns[up.life.pid] = time.time_ns()
        self._peer = None

    async def live(self, kill: Kill, lead: Callable[[], Awaitable[None]]) -> Death:
        """Has a server killed. `lead` is begun when it listens: it leads to where it dies."""
        if self._peer is not None and not kill.point:
            victim = await self._live_in_its_place(self._peer, kill, lead)
        else:
            victim = await self._live(kill, lead)
        self.ended_ns[victim.pid] = time.time_ns()
        self.orphans.append(asyncio.create_task(_orphans(victim.pid)))
        stored = await self.read()
        death = Death(kill, victim.pid, victim.last_point, recorded(stored))
        if _near_giving_up(stored):
            await self._recover()
        return death

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
        assert self._nursery is not None
        return await self._nursery.birth(state, crash, real=self._real, settings=self._settings)

    async def _live(self, kill: Kill, lead: Callable[[], Awaitable[None]]) -> Life:
        life = await self.birth(self._free, f"{kill.point}:{kill.number}" if kill.point else "")
        endpoint = await life.listens()
        if endpoint is not None:
            self._reach.add(endpoint)
            await lead()
            await life.death(self._patience_s if kill.point else kill.after_s)
            self._reach.remove(endpoint)
        await life.kill()
        return life

    async def _live_in_its_place(
        self, peer: Up, kill: Kill, lead: Callable[[], Awaitable[None]]
    ) -> Life:
        """Kills the one that has been there, and another one goes on."""
        self._peer = await self._up(self._free)
        await lead()
        await peer.life.death(kill.after_s)
        self._reach.remove(peer.endpoint)
        await peer.life.kill()
        self._free = peer.state
        return peer.life

    async def _up(self, state: Path) -> Up:
        life = await self.birth(state)
        endpoint = await life.listens()
        if endpoint is None:
            raise RuntimeError(f"a server died: {life.last_words}")
        self._reach.add(endpoint)
        return Up(life, endpoint, state)

    async def _down(self, up: Up) -> None:
        self._reach.remove(up.endpoint)
        await up.life.stop()
        self.ended_ns[up.life.pid] = time.time_ns()

    async def _recover(self) -> None:
        """Lets end what servers have died over: a few more, and it would be given up."""
        deadline = time.monotonic() + _RECOVERY_S
        async with self.living():
            while _near_giving_up(await self.read()) and time.monotonic() < deadline:
                await asyncio.sleep(_LOOK_S)


def recorded(stored: Stored) -> dict[str, int]:
    """Steps whose result is recorded, by key, with the token of the claim that did it."""
    return {row["key"]: row["token"] for row in stored.steps if row["state"] == "done"}


def _near_giving_up(stored: Stored) -> bool:
    """Whether a service would soon hold a step or a job for what its servers die of."""
    return any(
        row["state"] == "running" and row["lost_runs"] >= MAX_LOST_RUNS - 2 for row in stored.steps
    ) or any(
        row["state"] == "converting" and row["lost_attempts"] >= MAX_LOST_ATTEMPTS - 2
        for row in stored.conversions
    )


async def _orphans(server: int) -> list[str]:
    """Children that outlive their server by too much."""
    deadline = time.monotonic() + ORPHAN_S
    while left := await asyncio.to_thread(children_of, server):
        if time.monotonic() > deadline:
            return [f"{child} of server {server}" for child in left]
        await asyncio.sleep(_LOOK_S)
    return []
