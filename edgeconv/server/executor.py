"""This process among the executors: it says that it lives, and goes on with what the dead left.

An executor is dead when another one has said so; it is then to end, whatever it believes. Its
late words are refused: a step's by the token of the claim, a job's by its attempt.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.quantities import NS_PER_S
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.engine.engine import Engine, Job, Standing
from edgeconv.server.jobs.runner import unfinished_jobs
from edgeconv.server.jobs.tools import Tools
from edgeconv.server.store.store import Store

_LOG = logging.getLogger(__name__)

_BEATS = 6
"""In the time after which a silent executor is dead."""
_END_S = 20.0
_BY_FORCE = 70


@dataclass(frozen=True)
class Repairs:
    """What is to be done about jobs; see `repairs`."""

    cancel: list[Job]
    resume: list[Job]
    start: list[Job]


def repairs(
    standing: Sequence[Standing], dead: Collection[str], unfinished: Sequence[Job]
) -> Repairs:
    """Holds what the engine knows against what the store says is to be done. Pure.

    Args:
        standing: Read before the others: what begins meanwhile is no one's loss.
        dead: Executors that don't live.
        unfinished: In the order to be done.

    Returns:
        `resume` is what a dead executor left, what waits for one of an older version, or what
        was lost between a queue and its start;
        `cancel` is what it left that has ended without it; `start` is what no one knows: a job
        whose call was broken off between its commit and its start, a dataset that waited for
        its model.
    """
    left = {each.job for each in standing if each.executor in dead or each.outdated or each.lost}
    known = {each.job for each in standing}
    return Repairs(
        cancel=sorted(left.difference(unfinished), key=lambda job: job.resource),
        resume=[job for job in unfinished if job in left],
        start=[job for job in unfinished if job not in known],
    )


async def take_up(tools: Tools, engine: Engine) -> list[Standing]:
    """Goes on with what the dead left, and begins what was never begun.

    Returns:
        What stood before.
    """
    standing = await engine.standing()
    names = {each.executor for each in standing if each.executor}
    dead = await tools.store.executors.dead_among(names)
    todo = repairs(standing, dead, await unfinished_jobs(tools))
    for job in todo.cancel:
        await engine.cancel(job)
    reached(CrashPoint.LEFT_JOBS_CANCELLED)
    for job in todo.resume:
        _LOG.info("taking up %s", job.resource)
    await engine.resume(todo.resume)
    reached(CrashPoint.LEFT_JOBS_RESUMED)
    for job in todo.start:
        await engine.start(job)
    reached(CrashPoint.LOST_JOBS_STARTED)
    return standing


class Life:
    """Beats for this executor, and declares dead whoever does not.

    Args:
        dead_s: How long a silent executor lives.
        alone: Whether no other one can live: this one holds the lock of all they would use.
    """

    def __init__(self, tools: Tools, *, dead_s: float, alone: bool) -> None:
        self._tools = tools
        self._dead_s = dead_s
        self._alone = alone
        self._silent_ns = round(dead_s * NS_PER_S)

    async def begin(self) -> None:
        """Makes this executor known."""
        executors = self._tools.store.executors
        await executors.enter(self._tools.executor)
        reached(CrashPoint.EXECUTOR_KNOWN)
        if self._alone:
            await executors.declare_others_dead(self._tools.executor)
            self._declared()

    async def go_on(self) -> None:
        """Beats until this executor is declared dead.

        Raises:
            EdgeconvError: DECLARED_DEAD.
        """
        while True:
            await asyncio.sleep(self._dead_s / _BEATS)
            try:
                await self._beat()
            except EdgeconvError:
                raise
            except Exception:
                # A database that is away comes back, and others can't judge without it either.
                _LOG.exception("the heartbeat failed")

    async def judge(self) -> None:
        """Declares dead who was silent for too long."""
        if self._alone:
            return
        executors = self._tools.store.executors
        for dead in await executors.declare_dead(self._tools.executor, silent_ns=self._silent_ns):
            _LOG.warning("server %s is silent for %g s and taken for dead", dead, self._dead_s)
            self._declared()

    async def end(self, store: Store) -> None:
        """Takes this executor off, after its jobs have stopped.

        Args:
            store: One that does not wait for a lost database: the others will notice, too.
        """
        try:
            await store.executors.retire(self._tools.executor)
        except EdgeconvError as error:
            _LOG.warning("the end of this server could not be written down: %s", error.message)
        else:
            reached(CrashPoint.EXECUTOR_RETIRED)

    def _declared(self) -> None:
        reached(CrashPoint.OTHERS_DECLARED_DEAD)

    async def _beat(self) -> None:
        executors = self._tools.store.executors
        if not await executors.beat(self._tools.executor, silent_ns=self._silent_ns):
            raise EdgeconvError(
                Reason.DECLARED_DEAD,
                f"This server was silent for more than {self._dead_s:g} s, so another one took it"
                " for dead and goes on with its jobs.",
                fix="Start it again. If the machine was not stopped, it was too busy, or the"
                " database too slow.",
                executor=self._tools.executor,
            )


@contextmanager
def last_resort() -> Iterator[threading.Timer]:
    """A timer that, once started, ends the process by force unless the block ends before.

    For an executor that was declared dead: its database may keep it from ending in order.
    """
    timer = threading.Timer(_END_S, os._exit, [_BY_FORCE])
    timer.daemon = True
    try:
        yield timer
    finally:
        timer.cancel()
