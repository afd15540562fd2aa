"""Behind what queued conversions wait, for all who watch them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Generic, TypeVar

from edgeconv.server.engine.engine import Engine, Job
from edgeconv.server.progress import ProgressBoard

T = TypeVar("T")

FRESH_S = 1.0
_QUEUE = "queue"
"""The subject of what is said of a conversion that has not begun."""


class Place(Enum):
    """Where a job was when the queues were looked at."""

    WAITS = "waits"
    RUNS = "runs"
    UNKNOWN = "unknown"


class Shared(Generic[T]):
    """Something that is read for all who ask within a while, and by no two at once.

    Args:
        read: Reads it.
        fresh_s: How old what they get may be.
        now_s: A clock that only goes forward.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        fresh_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._now_s = now_s
        self._reading: asyncio.Future[T] | None = None
        self._ended_s = 0.0

    async def get(self) -> T:
        """What was read, or is being read; raises what `read` does, and then reads anew."""
        reading = self._reading
        if reading is None or (reading.done() and self._is_old(reading)):
            reading = self._reading = asyncio.ensure_future(self._read())
            reading.add_done_callback(self._note_end)
        # One who stops waiting takes it from no other.
        return await asyncio.shield(reading)

    def _is_old(self, reading: asyncio.Future[T]) -> bool:
        failed = reading.cancelled() or reading.exception() is not None
        return failed or self._now_s() - self._ended_s >= self._fresh_s

    def _note_end(self, reading: asyncio.Future[T]) -> None:
        self._ended_s = self._now_s()
        if not reading.cancelled():
            # It may be that nobody waits for it any more.
            reading.exception()


class WaitingWords:
    """Says of queued conversions behind what they wait.

    One look at the queues, at most about a second old, serves all: they are as long as there
    are watchers.
    """

    def __init__(self, engine: Engine, progress: ProgressBoard) -> None:
        self._lines = Shared(engine.lines, FRESH_S)
        self._progress = progress

    async def tell(self, job: Job) -> Place:
        """Says it of one, or forgets it where it waits no more.

        Raises:
            EdgeconvError: DATABASE_UNAVAILABLE.
        """
        lines = await self._lines.get()
        ahead = lines.ahead_of(job)
        if not ahead:
            self.forget(job)
            return Place.RUNS if lines.knows(job) else Place.UNKNOWN
        more = f" and {len(ahead) - 1} more" if len(ahead) > 1 else ""
        words = f"waiting for {ahead[0].resource}{more} to end"
        self._progress.say(job.resource, _QUEUE, -1.0, words)
        return Place.WAITS

    def forget(self, job: Job) -> None:
        """Says nothing of it any more."""
        self._progress.forget(job.resource, _QUEUE)
