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
from edgeconv.server.jobs.tools import Tools
from edgeconv.server.progress import ProgressBoard
from edgeconv.server.records import StepOutput
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


async def _take_over(tools: Tools) -> int:
    """Claims the step as another executor, to whom all the others are dead."""
    claim = await tools.store.steps.claim(KEY, STEP, "quick")
    assert isinstance(claim, StepClaim)
    return claim.token


def test_who_lost_the_claim_takes_the_result_of_the_one_who_has_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _tools(tmp_path) as tools:

            async def make() -> StepOutput:
                token = await _take_over(tools)
                assert await tools.store.steps.finish(KEY, token, _output(2))
                return _output(1)

            come = await once(tools, KEY, STEP, make)
            assert (come.output.wall_ns, come.reused) == (2, True)
            assert await tools.store.steps.output(KEY) == _output(2)

    asyncio.run(scenario())


def test_who_lost_the_claim_waits_for_the_one_who_has_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _tools(tmp_path) as tools:
            await tools.store.executors.enter("quick")
            taken: asyncio.Future[int] = asyncio.get_running_loop().create_future()

            async def make() -> StepOutput:
                taken.set_result(await _take_over(tools))
                return _output(1)

            coming = asyncio.create_task(once(tools, KEY, STEP, make))
            token = await taken
            # What was lost keeps nothing of the new owner's from being finished.
            assert await tools.store.steps.output(KEY) is None
            assert await tools.store.steps.finish(KEY, token, _output(2))
            come = await coming
            assert (come.output.wall_ns, come.reused) == (2, True)

    asyncio.run(scenario())


def test_who_lost_the_claim_does_the_step_again_when_the_one_who_has_it_dies(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with _tools(tmp_path) as tools:
            await tools.store.executors.enter("quick")
            tries: list[int] = []

            async def make() -> StepOutput:
                tries.append(len(tries))
                if len(tries) == 1:
                    await _take_over(tools)
                    await tools.store.executors.retire("quick")
                return _output(len(tries))

            come = await once(tools, KEY, STEP, make)
            assert (come.output.wall_ns, come.reused) == (2, False)

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
