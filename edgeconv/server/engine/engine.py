"""What dispatches jobs. The truth about them stands in the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from edgeconv.server.engine.lines import Lines


class JobKind(StrEnum):
    """What a job does; each kind has a limit of its own on how many run side by side."""

    INSPECTION = "inspection"
    CONVERSION = "conversion"


@dataclass(frozen=True)
class Job:
    """A job by the resource that it works on."""

    kind: JobKind
    resource: str


@dataclass(frozen=True)
class Standing:
    """Where a job stands that has not ended.

    Attributes:
        executor: Who runs it or is to run it; "" while any executor may take it.
        outdated: Whether none that is as new as this one will take it off the queue.
        lost: Whether it stands as this executor's and is not: the answer to its taking was lost.
    """

    job: Job
    executor: str
    outdated: bool = False
    lost: bool = False


RunJob = Callable[[Job], Awaitable[None]]
"""Does a job from where the store says it stands, and writes its end there. It raises
CancelledError when it is cancelled, and nothing else."""


class Engine(Protocol):
    """Dispatches jobs; the contract suite in the tests says what each call promises."""

    async def start(self, job: Job) -> None:
        """Queues a job; without effect while it is queued or runs, on whatever executor."""
        ...

    async def cancel(self, job: Job) -> None:
        """Takes a job off the queue or interrupts it, and returns when it is gone from here.

        Another executor that runs it hears of it within some two seconds.
        """
        ...

    async def standing(self) -> list[Standing]:
        """All jobs that have not ended, on whatever executor, in the order they are begun."""
        ...

    async def lines(self) -> Lines:
        """What runs and what waits behind it; reads all that stands, as `standing` does."""
        ...

    async def resume(self, jobs: Sequence[Job]) -> None:
        """Queues what a dead executor left or what was lost, in that order, before the others.

        What is queued, or runs on this executor, stays where it is. What stands as running on
        another one, or is queued for an older version, is taken from it.
        """
        ...

    async def shutdown(self) -> None:
        """Interrupts what runs and returns when all is gone.

        What ran stands as running still, and what was queued stays queued: the next one resumes
        it.
        """
        ...
