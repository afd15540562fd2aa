"""An engine for calls, none of which may wait for a lost database of queues for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.engine.engine import Engine, Job, Standing
from edgeconv.server.engine.lines import Lines
from edgeconv.server.store.outages import RETRY_S, outage_of

_LOG = logging.getLogger(__name__)

R = TypeVar("R")


@dataclass(frozen=True)
class BoundedEngine:
    """An `Engine` whose calls end in time; what was asked may be done later.

    Attributes:
        limit_s: How long a call may take.
    """

    engine: Engine
    limit_s: float

    async def start(self, job: Job) -> None:
        """As `Engine` says. The job stands in the store: the next sweep starts it."""
        await self._tried(self.engine.start(job), job, "is started later")

    async def cancel(self, job: Job) -> None:
        """As `Engine` says. The store says that the job has ended: the next sweep interrupts it."""
        await self._tried(self.engine.cancel(job), job, "is interrupted later")

    async def resume(self, jobs: Sequence[Job]) -> None:
        """As `Engine` says.

        Raises:
            EdgeconvError: DATABASE_UNAVAILABLE.
        """
        await self._answered(self.engine.resume(jobs))

    async def standing(self) -> list[Standing]:
        """As `Engine` says; raises as `resume`."""
        return await self._answered(self.engine.standing())

    async def lines(self) -> Lines:
        """As `Engine` says; raises as `resume`."""
        return await self._answered(self.engine.lines())

    async def shutdown(self) -> None:
        """As `Engine` says."""
        await self.engine.shutdown()

    async def _tried(self, call: Awaitable[None], job: Job, otherwise: str) -> None:
        try:
            await self._answered(call)
        except EdgeconvError:
            _LOG.warning("the queues do not answer: %s %s", job.resource, otherwise)

    async def _answered(self, call: Awaitable[R]) -> R:
        try:
            async with asyncio.timeout(self.limit_s):
                return await call
        except TimeoutError:
            raise _unavailable() from None
        except Exception as fault:
            # Some calls of DBOS wait for a lost database, and some don't.
            if outage_of(fault) is None:
                raise
            raise _unavailable() from fault


def _unavailable() -> EdgeconvError:
    return EdgeconvError(
        Reason.DATABASE_UNAVAILABLE,
        "The server's database of queues does not answer.",
        fix="Try again in a while. Jobs wait for the database and go on by themselves.",
        retry_s=RETRY_S,
    )
