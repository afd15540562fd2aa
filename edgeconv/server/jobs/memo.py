"""Does a step once: known results are taken from memory, new ones are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.jobs.tools import Tools
from edgeconv.server.records import StepOutput
from edgeconv.server.store.steps import Claim, StepBusy, StepClaim, StepDone, StepGivenUp

T = TypeVar("T")

_LOOK_AGAIN_S = 2.0


@dataclass(frozen=True)
class StepCome:
    """A step's result, and whether it was known."""

    output: StepOutput
    reused: bool


async def once(
    tools: Tools, key: str, name: str, make: Callable[[], Awaitable[StepOutput]]
) -> StepCome:
    """The result of a step; `make` is called when nobody has made it.

    Raises:
        EdgeconvError: that of `make`; LIMIT_EXCEEDED when servers died over it too often;
            INTERNAL when the claim was lost on the way to one who has no result yet.
    """
    held: list[int] = []

    async def claim() -> Claim:
        claim = await tools.store.steps.claim(key, name, tools.executor)
        if isinstance(claim, StepClaim):
            held.append(claim.token)
        return claim

    try:
        with tools.changes.watching(f"steps/{key}") as watch:
            while True:
                watch.clear()
                claim_now = await _to_the_end(claim())
                if not isinstance(claim_now, StepBusy):
                    break
                await watch.wait(_LOOK_AGAIN_S)
        if isinstance(claim_now, StepDone):
            return StepCome(claim_now.output, True)
        if isinstance(claim_now, StepGivenUp):
            raise EdgeconvError(
                Reason.LIMIT_EXCEEDED,
                f"Step {name} was given up: the server died several times while it ran.",
                fix="The model may need more memory than this machine has.",
                step=name,
            )
        reached(CrashPoint.STEP_CLAIMED)
        output = await make()
        if await tools.store.steps.finish(key, claim_now.token, output):
            held.clear()
            reached(CrashPoint.STEP_RECORDED)
            return StepCome(output, False)
        # Another executor took this one for dead. Its result is the one that counts.
        winner = await tools.store.steps.output(key)
        if winner is None:
            raise EdgeconvError(
                Reason.INTERNAL, f"Step {name} was taken over by another server.", step=name
            )
        return StepCome(winner, True)
    finally:
        for token in held:
            await _to_the_end(tools.store.steps.release(key, token))
            reached(CrashPoint.STEP_RELEASED)


async def _to_the_end(work: Awaitable[T]) -> T:
    """Waits for a write even when the caller is cancelled, so that its outcome is known."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
