"""What a server looks after every few seconds, in stages; one that fails keeps no other waiting."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from edgeconv.base.errors import EdgeconvError
from edgeconv.base.quantities import NS_PER_S
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.engine.engine import Engine, Job, Standing
from edgeconv.server.executor import Life, take_up
from edgeconv.server.jobs.runner import ended_jobs
from edgeconv.server.jobs.tools import Tools

_LOG = logging.getLogger(__name__)

_CANCEL_S = 1.0


@dataclass(frozen=True)
class Stage:
    """A part of a sweep; `name` is what it is at, for the log."""

    name: str
    do: Callable[[], Awaitable[None]]


async def sweep(stages: Sequence[Stage]) -> None:
    """Does each stage once, in order; what fails is logged, and the next round may do better."""
    for stage in stages:
        try:
            await stage.do()
        except EdgeconvError as error:
            _LOG.warning("the sweep broke off while %s: %s", stage.name, error.message)
        except Exception:
            # Without the others leases would live for ever.
            _LOG.exception("the sweep failed while %s", stage.name)


@dataclass
class Sweep:
    """The stages of a server.

    Attributes:
        no_device_s: After this a benchmark fails that no registered device could run.
    """

    tools: Tools
    engine: Engine
    life: Life
    no_device_s: float
    _finished: bool = False
    _mine: list[Job] | None = field(default=None)
    """Jobs that this executor has or may take; None where this round could not read them."""

    async def go_on(self, every_s: float) -> None:
        """Sweeps again and again until it is cancelled."""
        while True:
            self._mine = None
            await sweep(self.stages())
            await asyncio.sleep(every_s)

    def stages(self) -> list[Stage]:
        """All of them, in order."""
        return [
            Stage("finishing migrations", self._finish_migrations),
            Stage("forgetting marks of commits", self.tools.store.database.forget_marks),
            Stage("looking who is silent", self.life.judge),
            Stage("taking up jobs", self._take_up),
            Stage("ending needless jobs", self._end_needless),
            Stage("looking after the fleet", self._sweep_fleet),
            Stage("ending idle children", self._sweep_children),
        ]

    async def _finish_migrations(self) -> None:
        self._finished = self._finished or await self.tools.store.finish_migrations()

    async def _take_up(self) -> None:
        self._read(await take_up(self.tools, self.engine))

    def _read(self, standing: Iterable[Standing]) -> list[Job]:
        names = ("", self.tools.executor)
        self._mine = [each.job for each in standing if each.executor in names]
        return self._mine

    async def _end_needless(self) -> None:
        """Interrupts jobs whose conversion has ended without them.

        They hold a place that others wait for. Such are those of a cancellation that was broken
        off between its commit and its effect.
        """
        mine = self._mine
        if mine is None:
            mine = self._read(await self.engine.standing())
        for job in await ended_jobs(self.tools, mine):
            try:
                async with asyncio.timeout(_CANCEL_S):
                    await self.engine.cancel(job)
            except TimeoutError:
                _LOG.warning("%s has ended, and its job does not stop yet", job.resource)
        reached(CrashPoint.NEEDLESS_JOBS_ENDED)

    async def _sweep_fleet(self) -> None:
        no_device_ns = round(self.no_device_s * NS_PER_S)
        await self.tools.store.fleet.sweep(no_device_ns=no_device_ns)
        reached(CrashPoint.FLEET_SWEPT)

    async def _sweep_children(self) -> None:
        # Where it is not known what stands, nothing is quiet.
        quiet = self._mine == [] and not await self.tools.store.fleet.is_measuring()
        await self.tools.children.sweep(quiet=quiet)
