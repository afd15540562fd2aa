"""An engine in one process: jobs are tasks of the event loop."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

from edgeconv.server.engine.engine import Job, JobKind, RunJob

_LOG = logging.getLogger(__name__)


class AsyncioEngine:
    """Runs each kind of job in the order started, so many side by side as its limit says."""

    def __init__(self, executor: str, run: RunJob, limits: Mapping[JobKind, int]) -> None:
        self._executor = executor
        self._run = run
        self._limits = dict(limits)
        self._queued: dict[JobKind, deque[Job]] = {kind: deque() for kind in JobKind}
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._closed = False

    async def start(self, job: Job) -> None:
        """As `Engine` says."""
        if not self._knows(job):
            self._queued[job.kind].append(job)
            self._dispatch(job.kind)

    async def resume(self, jobs: Sequence[Job]) -> None:
        """As `Engine` says."""
        for job in reversed(jobs):
            if not self._knows(job):
                self._queued[job.kind].appendleft(job)
        for kind in JobKind:
            self._dispatch(kind)

    async def cancel(self, job: Job) -> None:
        """As `Engine` says."""
        with suppress(ValueError):
            self._queued[job.kind].remove(job)
        task = self._running.get(job)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def pending(self, executor: str) -> list[Job]:
        """As `Engine` says."""
        if executor != self._executor:
            return []
        return [*self._running, *(job for queue in self._queued.values() for job in queue)]

    async def ahead_of(self, job: Job) -> list[Job]:
        """As `Engine` says."""
        queue = list(self._queued[job.kind])
        if job not in queue:
            return []
        running = [each for each in self._running if each.kind is job.kind]
        return [*running, *queue[: queue.index(job)]]

    async def shutdown(self) -> None:
        """As `Engine` says."""
        self._closed = True
        for queue in self._queued.values():
            queue.clear()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _knows(self, job: Job) -> bool:
        return job in self._running or job in self._queued[job.kind]

    def _dispatch(self, kind: JobKind) -> None:
        queue = self._queued[kind]
        while queue and not self._closed and self._count(kind) < self._limits[kind]:
            job = queue.popleft()
            task = asyncio.create_task(self._guard(job), name=job.resource)
            self._running[job] = task
            task.add_done_callback(functools.partial(self._ended, job))

    def _count(self, kind: JobKind) -> int:
        return sum(1 for job in self._running if job.kind is kind)

    def _ended(self, job: Job, _task: asyncio.Task[None]) -> None:
        del self._running[job]
        self._dispatch(job.kind)

    async def _guard(self, job: Job) -> None:
        try:
            await self._run(job)
        except asyncio.CancelledError:
            raise
        except Exception:
            # The runner writes every end itself; what comes here is a fault of ours, and
            # the queue must go on.
            _LOG.exception("%s broke off", job.resource)
