"""A step that two executors do, because one took the other for dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeconv.base.clock import SystemClock
from edgeconv.base.errors import EdgeconvError, Reason
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


def test_who_lost_the_claim_to_one_without_a_result_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _tools(tmp_path) as tools:

            async def make() -> StepOutput:
                await _take_over(tools)
                return _output(1)

            with pytest.raises(EdgeconvError, match="taken over") as caught:
                await once(tools, KEY, STEP, make)
            assert caught.value.reason is Reason.INTERNAL
            # What was lost keeps nothing of the new owner's from being finished.
            assert await tools.store.steps.output(KEY) is None

    asyncio.run(scenario())
