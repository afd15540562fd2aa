"""A step that two executors do, because one took the other for dead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeconv.base.clock import SystemClock
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.changes import Changes
from edgeconv.server.jobs.children import Children
from edgeconv.server.jobs.memo import once
from edgeconv.server.jobs.runner import inspection_of, run_job
from edgeconv.server.jobs.tools import Tools
from edgeconv.server.progress import ProgressBoard
from edgeconv.server.records import StepOutput
from edgeconv.server.store.requests import Request
from edgeconv.server.store.steps import StepClaim
from edgeconv.server.store.store import Store

KEY, STEP = "key", "lower"


@asynccontextmanager
async def _tools(folder: Path) -> AsyncIterator[Tools]:
    changes, clock = Changes(), SystemClock()
    url = f"sqlite:///{folder / 'edgeconv.db'}"
    store = await Store.open(url, clock=clock, touch=changes.touch)
    blobs = Blobs.local(folder / "blobs")
    children = Children(folder / "scratch", blobs)
    progress = ProgressBoard(changes.touch)
    try:
        yield Tools(store, blobs, children, changes, progress, clock, "slow", {}, "cpu")
    finally:
        await store.close()


def _output(wall_ns: int) -> StepOutput:
    return StepOutput.model_validate(
        {
            "files": [], "facts": {}, "effect": None, "agreement": None, "wall_ns": wall_ns,
            "peak_memory_bytes": 1,
        }
    )  # fmt: skip


async def _take_for_dead(tools: Tools) -> int:
    """Claims the step as another executor, to whom all the others are dead."""
    await tools.store.executors.enter("quick")
    await tools.store.executors.declare_others_dead("quick")
    claim = await tools.store.steps.claim(KEY, STEP, "quick")
    assert isinstance(claim, StepClaim)
    return claim.token


def test_who_was_taken_for_dead_ends_quietly_and_leaves_the_step_to_the_other(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with _tools(tmp_path) as tools:
            await tools.store.executors.enter("slow")
            tokens: list[int] = []

            async def make() -> StepOutput:
                tokens.append(await _take_for_dead(tools))
                return _output(1)

            with pytest.raises(asyncio.CancelledError):
                await once(tools, KEY, STEP, make)
            # What was lost keeps nothing of the new owner's from being finished.
            assert await tools.store.steps.output(KEY) is None
            assert await tools.store.steps.finish(KEY, "quick", tokens[0], _output(2))

    asyncio.run(scenario())


def test_who_was_taken_for_dead_begins_nothing_and_fails_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _tools(tmp_path) as tools:

            async def make() -> StepOutput:
                raise AssertionError

            with pytest.raises(asyncio.CancelledError):
                await once(tools, KEY, STEP, make)
            model, _ = await tools.store.models.create("m", (), Request("local", "", ""))
            with pytest.raises(asyncio.CancelledError):
                await run_job(tools, inspection_of(model.name))
            assert await tools.store.models.inspecting() == [model.name]

    asyncio.run(scenario())


def test_a_claim_that_is_cancelled_twice_is_given_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _tools(tmp_path) as tools:
            await tools.store.executors.enter("slow")
            begun, go_on = threading.Event(), threading.Event()

            def hold(_: object) -> None:
                begun.set()
                assert go_on.wait(20)

            # The one writer is busy, so that the claim has to wait.
            holding = asyncio.create_task(tools.store.database.run(hold))
            await asyncio.to_thread(begun.wait, 20)

            async def make() -> StepOutput:
                raise AssertionError

            claiming = asyncio.create_task(once(tools, KEY, STEP, make))
            for _ in range(2):
                await asyncio.sleep(0)
                claiming.cancel()
            go_on.set()
            await holding
            with pytest.raises(asyncio.CancelledError):
                await claiming
            assert isinstance(await tools.store.steps.claim(KEY, STEP, "slow"), StepClaim)

    asyncio.run(scenario())
