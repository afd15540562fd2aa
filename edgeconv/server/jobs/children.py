"""Job children: started ahead, kept for the model they know, ended when idle.

Loading the libraries takes seconds. So a child is started at the first sign of work, and
one that has read a model is kept for the next job on the same model. A child never sees
a second model. All libraries are loaded only when it stays idle for a moment: a job that
comes at once may need few of them.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path

from edgeconv.base.ids import new_id
from edgeconv.sandbox.limits import Limits
from edgeconv.sandbox.walls import Room
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.completion import to_its_end
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.jobs.job_child import JobChild
from edgeconv.server.jobs.step_time import StepTimes

DEFAULT_ENTRY = "edgeconv.conversion.job_child:main"
MAX_KEPT = 2
MAX_JOBS_OF_A_CHILD = 16
_WARM_AFTER_S = 1.0


@dataclass(eq=False)
class _Idle:
    child: JobChild
    model: str
    jobs: int
    since: float


class Children:
    """Hands out children and takes them back.

    Args:
        folder: Theirs; each gets one of its own in it.
        room: What they may touch besides that.
        times: How long their steps may take.
        idle_s: How long an idle child is kept.
        rest_s: How long after a job no child is started ahead: more is likely to follow for
            the one that worked, and the start would take a processor away from that.
    """

    def __init__(
        self,
        folder: Path,
        blobs: Blobs,
        *,
        entry: str = DEFAULT_ENTRY,
        limits: Limits | None = None,
        room: Room | None = None,
        times: StepTimes | None = None,
        idle_s: float = 300.0,
        rest_s: float = 5.0,
    ) -> None:
        self._folder = folder
        self._blobs = blobs
        self._entry = entry
        self._limits = limits or Limits()
        self._room = room or Room()
        self._times = times or StepTimes()
        self._idle_s = idle_s
        self._rest_s = rest_s
        self._idle: list[_Idle] = []
        self._jobs: dict[JobChild, int] = {}
        self._lock = asyncio.Lock()
        self._last_job = -math.inf
        self._closed = False

    async def prepare(self) -> None:
        """Starts a child ahead, unless an idle one that knows no model is there.

        None is started while another works or has only just worked.
        """
        async with self._lock:
            await self._end_dead()
            busy = self._jobs or _now() - self._last_job < self._rest_s
            if self._closed or busy or any(not idle.model for idle in self._idle):
                return
            await self._put(_Idle(await self._start(), "", 0, _now()))

    async def take(self, model: str, *, from_ahead: bool = True) -> JobChild:
        """A child for a model, given by the digest of its bundle, or "" for none.

        Args:
            from_ahead: Whether it may be the one that was started ahead; it had better be
                kept for work that needs all the libraries.
        """
        async with self._lock:
            for wanted in (model, ""):
                if not wanted and not from_ahead:
                    break
                for idle in self._idle:
                    if idle.model == wanted and idle.child.alive:
                        self._idle.remove(idle)
                        self._jobs[idle.child] = idle.jobs + 1
                        return idle.child
            child = await self._start()
            self._jobs[child] = 1
            return child

    async def give_back(self, child: JobChild, model: str) -> None:
        """Keeps a child for the next job on its model, for a while.

        A cancelled caller has given it back, too.
        """
        await to_its_end(self._give_back(child, model))

    async def _give_back(self, child: JobChild, model: str) -> None:
        self._last_job = _now()
        async with self._lock:
            # Until it stands among the others: a folder of nobody's would be removed.
            jobs = self._jobs[child]
            await self._keep_or_end(child, model, jobs)
            self._jobs.pop(child)

    async def _keep_or_end(self, child: JobChild, model: str, jobs: int) -> None:
        if self._closed or not child.alive or jobs >= MAX_JOBS_OF_A_CHILD:
            await child.end()
            return
        await self._put(_Idle(child, model, jobs, _now()))
        reached(CrashPoint.CHILD_KEPT)

    async def end(self, child: JobChild) -> None:
        """Ends a child that was taken, also when the caller is cancelled meanwhile."""
        self._jobs.pop(child, None)
        await to_its_end(child.end())
        reached(CrashPoint.CHILD_ENDED)

    async def sweep(self, *, quiet: bool) -> None:
        """Ends children that were idle for too long, and starts one ahead of the next job.

        Args:
            quiet: Nothing is converted or measured that the start could slow down.
        """
        async with self._lock:
            await self._end_dead()
            old = [idle for idle in self._idle if _now() - idle.since > self._idle_s]
            for idle in old:
                self._idle.remove(idle)
                await idle.child.end()
        if quiet and _now() - self._last_job < self._idle_s:
            await self.prepare()

    def folders(self) -> set[str]:
        """Names of the folders that live children work in."""
        children = [*self._jobs, *(idle.child for idle in self._idle)]
        return {child.folder.name for child in children}

    async def close(self) -> None:
        """Ends all idle children, and keeps none from now on."""
        async with self._lock:
            self._closed = True
            for idle in self._idle:
                await idle.child.end()
            self._idle.clear()

    async def _end_dead(self) -> None:
        """Clears away idle children that died: they hold places and help nobody."""
        for idle in [idle for idle in self._idle if not idle.child.alive]:
            self._idle.remove(idle)
            await idle.child.end()

    async def _start(self) -> JobChild:
        folder = self._folder / new_id()
        child = await JobChild.start(
            self._entry, folder, self._blobs, self._limits, self._room, self._times
        )
        reached(CrashPoint.CHILD_STARTED)
        return child

    async def _put(self, idle: _Idle) -> None:
        self._idle.append(idle)
        asyncio.get_running_loop().call_later(_WARM_AFTER_S, self._warm, idle)
        while len(self._idle) > MAX_KEPT:
            oldest = self._idle.pop(0)
            await oldest.child.end()

    def _warm(self, idle: _Idle) -> None:
        if idle in self._idle:
            idle.child.warm()


def _now() -> float:
    return asyncio.get_running_loop().time()
