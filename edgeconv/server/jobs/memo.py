"""Does a step once: known results are taken from memory, new ones are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.jobs.taken_for_dead import ending_with_its_executor
from edgeconv.server.jobs.tools import Tools
from edgeconv.server.records import StepOutput
from edgeconv.server.store.steps import Claim, StepBusy, StepClaim, StepDone, StepGivenUp

T = TypeVar("T")

_LOOK_AGAIN_S = 2.0


@dataclass(frozen=True)
class StepCome:
    """A step's result, whether it was known, and under which claim it was made."""

    output: StepOutput
    reused: bool
    owner: str
    token: int


async def once(
    tools: Tools, key: str, name: str, make: Callable[[], Awaitable[StepOutput]]
) -> StepCome:
    """The result of a step; `make` is called when nobody has made it.

    Raises:
        EdgeconvError: that of `make`; LIMIT_EXCEEDED when servers died over it too often.
        CancelledError: this executor was taken for dead; another one does the job.
    """
    held: list[int] = []

    async def claim() -> Claim:
        with ending_with_its_executor():
            claim = await tools.store.steps.claim(key, name, tools.executor)
        if isinstance(claim, StepClaim):
            held.append(claim.token)
        return claim

    async def claimed() -> StepDone | StepClaim:
        with tools.changes.watching(f"steps/{key}") as watch:
            while True:
                watch.clear()
                found = await _to_the_end(claim())
                if isinstance(found, StepGivenUp):
                    raise _given_up(name)
                if not isinstance(found, StepBusy):
                    return found
                await watch.wait(_LOOK_AGAIN_S)

    try:
        found = await claimed()
        if isinstance(found, StepDone):
            return StepCome(found.output, True, found.owner, found.token)
        reached(CrashPoint.STEP_CLAIMED)
        output = await make()
        if not await tools.store.steps.finish(key, tools.executor, found.token, output):
            raise asyncio.CancelledError
        held.clear()
        reached(CrashPoint.STEP_RECORDED)
        return StepCome(output, False, tools.executor, found.token)
    finally:
        for token in held:
            await _to_the_end(tools.store.steps.release(key, tools.executor, token))
            reached(CrashPoint.STEP_RELEASED)


def _given_up(name: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.LIMIT_EXCEEDED,
        f"Step {name} was given up: the server died several times while it ran.",
        fix="The model may need more memory than this machine has.",
        step=name,
    )


async def _to_the_end(work: Awaitable[T]) -> T:
    """Waits for a write even when the caller is cancelled, so that its outcome is known."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            # It may come more than once.
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled
    return task.result()
