"""A job whose dispatch was lost between the queue's commit and its start is started again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from dbos._dbos import _get_dbos_instance

from edgeconv.server.engine import dbos_engine
from edgeconv.server.engine.dbos_engine import DbosEngine
from edgeconv.server.engine.engine import Job, JobKind
from edgeconv.server.executor import repairs
from edgeconv.server.store.connections import dispatch
from edgeconv.testing.postgresql import Cluster

ME = "me"
POLL_S = 0.05
BEGIN_S = 0.3
SWEEP_S = 0.1
LIMIT_S = 60.0


class Runs:
    """Jobs that take a few turns of the loop; says which ended, and which overlapped."""

    def __init__(self, begun: Callable[[], Awaitable[None]] | None = None) -> None:
        self.unfinished: list[Job] = []
        self.begun: list[Job] = []
        self.now: set[Job] = set()
        self.overlaps: list[Job] = []
        self._on_begin = begun

    async def run(self, job: Job) -> None:
        if job in self.now:
            self.overlaps.append(job)
        self.now.add(job)
        self.begun.append(job)
        try:
            if self._on_begin is not None:
                await self._on_begin()
            for _ in range(20):
                await asyncio.sleep(0)
            if job in self.unfinished:
                self.unfinished.remove(job)
        finally:
            self.now.discard(job)

    async def until_done(self, engine: DbosEngine) -> None:
        """Sweeps as a server does until all have ended."""
        async with asyncio.timeout(LIMIT_S):
            while self.unfinished:
                await self.sweep(engine)
                await asyncio.sleep(SWEEP_S)

    async def sweep(self, engine: DbosEngine) -> None:
        with suppress(sa.exc.DBAPIError):  # The next sweep may do better, as a server's.
            todo = repairs(await engine.standing(), set(), list(self.unfinished))
            for job in todo.cancel:
                await engine.cancel(job)
            await engine.resume(todo.resume)
            for job in todo.start:
                await engine.start(job)


def _job(number: int) -> Job:
    return Job(JobKind.CONVERSION, f"conversions/{number}")


async def _open(url: str, runs: Runs, conversions: int = 1) -> DbosEngine:
    limits = {JobKind.CONVERSION: conversions, JobKind.INSPECTION: 1}
    return await DbosEngine.open(ME, runs.run, limits, database=dispatch(url), poll_s=POLL_S)


def _wrap(
    patch: pytest.MonkeyPatch, name: str, change: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    """Puts a fault around a call of DBOS' to its database."""
    database: Any = _get_dbos_instance()._sys_db
    patch.setattr(database, name, change(getattr(database, name)))


def _loses_one_answer(real: Callable[..., Any]) -> Callable[..., Any]:
    lost: list[str] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        answer = real(*args, **kwargs)
        if not lost and answer[0]:
            lost.append("")
            raise RuntimeError("server closed the connection unexpectedly")
        return answer

    return call


@pytest.mark.parametrize("ended", [False, True])
def test_a_lost_answer_keeps_no_job_for_ever(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch, *, ended: bool
) -> None:
    url = new_database()
    monkeypatch.setattr(dbos_engine, "_BEGIN_S", BEGIN_S)
    # An embedded engine takes nothing off a queue: there the row itself is written so.
    name = "init_workflow" if url.startswith("sqlite") else "start_queued_workflows"

    async def play() -> Runs:
        runs = Runs()
        engine = await _open(url, runs)
        try:
            _wrap(monkeypatch, name, _loses_one_answer)
            runs.unfinished = [_job(1), _job(2)]
            for job in list(runs.unfinished):
                with suppress(RuntimeError):  # As a call that is told INTERNAL.
                    await engine.start(job)
            async with asyncio.timeout(LIMIT_S):
                while _job(2) in runs.unfinished:
                    await runs.sweep(engine)
                    await asyncio.sleep(SWEEP_S)
                if ended:
                    # The job has ended without its attempt, as a cancelled one does.
                    runs.unfinished.clear()
                    while await engine.standing():
                        await runs.sweep(engine)
                        await asyncio.sleep(SWEEP_S)
            await runs.until_done(engine)
        finally:
            await engine.shutdown()
        return runs

    runs = asyncio.run(play())
    assert runs.overlaps == []
    assert runs.begun.count(_job(2)) == 1
    assert runs.begun.count(_job(1)) <= 1
    assert ended or _job(1) in runs.begun


def test_a_dispatch_that_was_only_slow_does_not_run_beside_the_new_attempt(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbos_engine, "_BEGIN_S", BEGIN_S)
    held, go_on = threading.Event(), threading.Event()

    def slow(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = real(*args, **kwargs)
            # Each look at a queue asks, for none where it took none.
            if answer and not held.is_set():
                held.set()
                assert go_on.wait(LIMIT_S)
            return answer

        return call

    async def play() -> Runs:
        runs = Runs()
        engine = await _open(cluster.new_database(), runs, conversions=2)
        try:
            # After the rows were read as taken, and before they are run.
            _wrap(monkeypatch, "get_workflow_statuses", slow)
            runs.unfinished = [_job(1)]
            await engine.start(_job(1))
            assert await asyncio.to_thread(held.wait, LIMIT_S)
            (first,) = await engine._attempts(_job(1))
            async with asyncio.timeout(LIMIT_S):
                while first in await engine._attempts(_job(1)):
                    await runs.sweep(engine)
                    await asyncio.sleep(SWEEP_S)
            go_on.set()
            await runs.until_done(engine)
            async with asyncio.timeout(LIMIT_S):
                while await engine.standing():
                    await asyncio.sleep(SWEEP_S)
        finally:
            go_on.set()
            await engine.shutdown()
        return runs

    runs = asyncio.run(play())
    assert (runs.begun, runs.overlaps) == ([_job(1)], [])


def test_all_jobs_end_though_all_connections_are_cut_again_and_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbos_engine, "_BEGIN_S", BEGIN_S)
    url = cluster.new_database()
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{sa.make_url(url).database}'"
    )
    cuts: list[str] = []

    async def begun() -> None:
        if len(cuts) < 8:
            cuts.append("")
            await asyncio.to_thread(cluster.tell, cut)

    async def play() -> Runs:
        runs = Runs(begun)
        engine = await _open(url, runs, conversions=3)
        try:
            runs.unfinished = [_job(number) for number in range(16)]
            for job in list(runs.unfinished):
                with suppress(sa.exc.DBAPIError):  # Else the sweep starts it.
                    await engine.start(job)
            await runs.until_done(engine)
        finally:
            await engine.shutdown()
        return runs

    runs = asyncio.run(play())
    assert len(cuts) == 8
    assert runs.overlaps == []
    assert set(runs.begun) == {_job(number) for number in range(16)}
