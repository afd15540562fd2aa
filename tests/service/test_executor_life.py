"""A server among others: whom it takes for dead, and that it ends when it is taken for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.quantities import NS_PER_S
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.changes import Changes
from edgeconv.server.executor import Life
from edgeconv.server.jobs.children import Children
from edgeconv.server.jobs.tools import Tools
from edgeconv.server.progress import ProgressBoard
from edgeconv.server.store.store import Store
from edgeconv.testing.fake_clock import FakeClock
from edgeconv.testing.running_server import quick_service

LIMIT_S = 60.0
DEAD_S = 2.0


@asynccontextmanager
async def _tools(folder: Path, clock: FakeClock) -> AsyncIterator[Tools]:
    changes = Changes()
    url = f"sqlite:///{folder / 'edgeconv.db'}"
    store = await Store.open(url, clock=clock, touch=changes.touch)
    blobs = Blobs.local(folder / "blobs")
    children = Children(folder / "scratch", blobs)
    progress = ProgressBoard(changes.touch)
    try:
        yield Tools(store, blobs, children, changes, progress, clock, "me", {}, "cpu")
    finally:
        await store.close()


def test_a_server_that_has_only_just_come_judges_no_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock, silent_ns = FakeClock(), round(DEAD_S * NS_PER_S)
        async with _tools(tmp_path, clock) as tools:
            executors = tools.store.executors
            await executors.enter("silent")
            clock.advance(3600 * NS_PER_S)
            life = Life(tools, dead_s=DEAD_S, alone=False)
            await life.begin()
            await life.judge()
            assert await executors.dead_among(["silent"]) == set()
            for _ in range(5):
                clock.advance(silent_ns // 4)
                assert await executors.beat("me", silent_ns=silent_ns)
            await life.judge()
            assert await executors.dead_among(["silent", "me"]) == {"silent"}

    asyncio.run(scenario())


def test_a_server_that_is_alone_on_its_state_folder_waits_for_no_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _tools(tmp_path, FakeClock()) as tools:
            await tools.store.executors.enter("killed")
            await Life(tools, dead_s=3600, alone=True).begin()
            assert await tools.store.executors.dead_among(["killed", "me"]) == {"killed"}

    asyncio.run(scenario())


def test_one_that_was_taken_for_dead_learns_it_with_its_next_beat(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _tools(tmp_path, FakeClock()) as tools:
            life = Life(tools, dead_s=DEAD_S, alone=False)
            await life.begin()
            await tools.store.executors.declare_others_dead("another")
            with pytest.raises(EdgeconvError) as caught:
                await asyncio.wait_for(life.go_on(), LIMIT_S)
            assert caught.value.reason is Reason.DECLARED_DEAD

    asyncio.run(scenario())


async def _serve_until_taken_for_dead(folder: Path) -> None:
    """A server whose child hangs; returns into it when that child is gone."""
    async with quick_service(folder, executor_dead_s=DEAD_S) as service:
        model = await service.model(steps={"reference": "hang"})
        recipe = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
        await service.client.create_conversion(model, recipe=recipe)
        while "reference" not in service.journal:
            await asyncio.sleep(0.01)
        child = int((folder / "journal").read_text().splitlines()[-1].split()[1])
        async with _tools(folder / "state", FakeClock()) as tools:
            await tools.store.executors.declare_others_dead("another")
        while Path(f"/proc/{child}").exists():
            await asyncio.sleep(0.01)


def test_a_server_that_was_taken_for_dead_ends_its_children_and_itself(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError) as caught:
        asyncio.run(asyncio.wait_for(_serve_until_taken_for_dead(tmp_path), LIMIT_S * 2))
    assert caught.value.reason is Reason.DECLARED_DEAD
