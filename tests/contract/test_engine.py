"""What any engine promises."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgeconv.server.engine import dbos_engine
from edgeconv.server.engine.dbos_engine import DbosEngine
from edgeconv.server.engine.engine import Engine, Job, JobKind, RunJob, Standing
from edgeconv.server.store.connections import dispatch

Make = Callable[..., Awaitable[Engine]]
EXECUTOR = "me"
POLL_S = 0.02
LIMIT_S = 60.0


@pytest.fixture
def make(new_database: Callable[[], str]) -> Make:
    """Opens engines that share one database, one after another."""
    url = new_database()

    async def make(run: RunJob, conversions: int, executor: str = EXECUTOR) -> Engine:
        limits = {JobKind.CONVERSION: conversions, JobKind.INSPECTION: 1}
        return await DbosEngine.open(executor, run, limits, database=dispatch(url), poll_s=POLL_S)

    return make


def _job(name: str, kind: JobKind = JobKind.CONVERSION) -> Job:
    return Job(kind, f"conversions/{name}")


class Work:
    """Jobs that run until they are let go; says what happened."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Event()

    async def run(self, job: Job) -> None:
        name = job.resource.removeprefix("conversions/")
        self._say(f"{name} began")
        try:
            await self.gates.setdefault(name, asyncio.Event()).wait()
            self._say(f"{name} ended")
        except asyncio.CancelledError:
            self._say(f"{name} was cancelled")
            raise

    def let(self, name: str) -> None:
        self.gates.setdefault(name, asyncio.Event()).set()

    async def until(self, event: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            while event not in self.events:
                self._changed.clear()
                await self._changed.wait()

    def _say(self, event: str) -> None:
        self.events.append(event)
        self._changed.set()


def _play(
    make: Make, scenario: Callable[[Engine, Work], Awaitable[None]], *, conversions: int = 1
) -> list[str]:
    async def play() -> list[str]:
        work = Work()
        engine = await make(work.run, conversions)
        try:
            await scenario(engine, work)
        finally:
            await engine.shutdown()
        return work.events

    return asyncio.run(play())


def test_jobs_run_in_order_and_no_more_at_once_than_allowed(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        for name in "abc":
            await engine.start(_job(name))
        # Two that are taken off the queue together begin in any order.
        await work.until("a began")
        await work.until("b began")
        assert sorted(work.events) == ["a began", "b began"]
        work.let("a")
        await work.until("c began")
        work.let("b")
        work.let("c")
        await work.until("c ended")

    assert "c began" in _play(make, scenario, conversions=2)


def test_each_kind_has_a_limit_of_its_own(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        await engine.start(_job("long"))
        await engine.start(_job("waits"))
        await engine.start(_job("quick", JobKind.INSPECTION))
        await work.until("quick began")
        assert "waits began" not in work.events

    _play(make, scenario)


def test_a_job_started_twice_runs_once(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        for name in "aabb":
            await engine.start(_job(name))
        work.let("a")
        work.let("b")
        await work.until("b ended")

    assert _play(make, scenario) == ["a began", "a ended", "b began", "b ended"]


def test_cancel_returns_when_the_job_is_gone(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        await engine.start(_job("a"))
        await engine.start(_job("b"))
        await work.until("a began")
        await engine.cancel(_job("a"))
        assert work.events[:2] == ["a began", "a was cancelled"]
        await work.until("b began")

    assert "b began" in _play(make, scenario)


def test_a_queued_job_that_is_cancelled_never_runs(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        for name in "abc":
            await engine.start(_job(name))
        await engine.cancel(_job("b"))
        await engine.cancel(_job("nobody knows it"))
        work.let("a")
        await work.until("c began")

    assert not [event for event in _play(make, scenario) if event.startswith("b ")]


def test_what_stands_is_told_in_order_with_who_runs_it(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        for name in "abc":
            await engine.start(_job(name))
        await work.until("a began")
        standing = await engine.standing()
        assert [each.job for each in standing] == [_job("a"), _job("b"), _job("c")]
        assert standing[0].executor == EXECUTOR
        assert {each.executor for each in standing} <= {EXECUTOR, ""}
        work.let("a")
        await work.until("b began")
        assert [each.job for each in await engine.standing()] == [_job("b"), _job("c")]

    _play(make, scenario)


def test_resumed_jobs_come_before_those_that_wait(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        for name in "ab":
            await engine.start(_job(name))
        await work.until("a began")
        await engine.resume([_job("left over"), _job("a")])
        work.let("a")
        await work.until("left over began")

    assert "b began" not in _play(make, scenario)


def test_resumed_jobs_keep_their_order_from_the_first_on(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        await engine.resume([_job("oldest"), _job("middle"), _job("newest")])
        for name in ("oldest", "middle", "newest"):
            work.let(name)
        await work.until("newest ended")

    began = [event for event in _play(make, scenario) if event.endswith("began")]
    assert began == ["oldest began", "middle began", "newest began"]


def test_a_job_that_has_ended_may_be_started_again(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        work.let("a")
        for _ in range(2):
            await engine.start(_job("a"))
            await work.until("a ended")
            await _until_none(engine)

    assert _play(make, scenario) == ["a began", "a ended"] * 2


def test_a_cancelled_job_may_be_started_again(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        await engine.start(_job("a"))
        await work.until("a began")
        await engine.cancel(_job("a"))
        work.let("a")
        await engine.start(_job("a"))
        await work.until("a ended")

    assert _play(make, scenario) == ["a began", "a was cancelled", "a began", "a ended"]


def test_names_that_begin_alike_or_look_like_patterns_are_apart(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        names = ["a_1", "ab1", "a", "a%"]
        for name in names:
            await engine.start(_job(name))
        for name in names:
            await work.until(f"{name} began")
        await engine.cancel(_job("a_1"))
        await engine.cancel(_job("a%"))
        assert {each.job.resource for each in await engine.standing()} == {
            "conversions/ab1", "conversions/a",
        }  # fmt: skip

    _play(make, scenario, conversions=4)


def test_shutdown_leaves_what_ran_and_what_waited_for_the_next(make: Make) -> None:
    async def play() -> None:
        work = Work()
        first = await make(work.run, 1, "first")
        for name in "ab":
            await first.start(_job(name))
        await work.until("a began")
        await first.shutdown()
        assert work.events == ["a began", "a was cancelled"]
        await first.start(_job("late"))

        second = await make(work.run, 1, "second")
        try:
            assert Standing(_job("a"), "first") in await second.standing()
            await second.resume([_job("a"), _job("b")])
            (found,) = [each for each in await second.standing() if each.job == _job("a")]
            assert found.executor in ("second", "")
            for name in "ab":
                work.let(name)
            for name in "ab":
                await work.until(f"{name} ended")
        finally:
            await second.shutdown()
        assert sorted(work.events[2:]) == ["a began", "a ended", "b began", "b ended"]

    asyncio.run(play())


def test_one_process_has_one_engine_at_a_time(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        with pytest.raises(RuntimeError, match="one engine"):
            await make(work.run, 1, "another")
        work.let("a")
        await engine.start(_job("a"))
        await work.until("a ended")

    _play(make, scenario)


def test_a_cancellation_reaches_work_that_waits_for_a_process(make: Make) -> None:
    pids: list[int] = []

    async def play() -> float:
        began = asyncio.Event()

        async def run(_job: Job) -> None:
            child = await asyncio.create_subprocess_exec("sleep", "60")
            pids.append(child.pid)
            began.set()
            try:
                await child.wait()
            finally:
                child.kill()
                await child.wait()

        engine = await make(run, 1)
        try:
            await engine.start(_job("a"))
            async with asyncio.timeout(LIMIT_S):
                await began.wait()
            before = time.monotonic()
            await engine.cancel(_job("a"))
            return time.monotonic() - before
        finally:
            await engine.shutdown()

    took_s = asyncio.run(play())
    assert not Path(f"/proc/{pids[0]}").exists()
    assert took_s < 1.0


PROGRAM = """
import asyncio, sys
from edgeconv.server.engine.dbos_engine import DbosEngine
from edgeconv.server.engine.engine import Job, JobKind
from edgeconv.server.store.connections import dispatch
async def run(job):
    print(job.resource, flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print("stopped", flush=True)
async def main():
    engine = await DbosEngine.open("other", run, {kind: 1 for kind in JobKind},
                                   database=dispatch(sys.argv[1]), poll_s=0.02)
    for name in sys.argv[2:]:
        await engine.start(Job(JobKind.CONVERSION, name))
    print("all queued", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@asynccontextmanager
async def _process(url: str, *jobs: str) -> AsyncIterator[Process]:
    """Another process with an engine on the database, which runs jobs without an end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, url, *jobs, stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _begun(process: Process) -> None:
    """Waits until it has queued its jobs and runs the first one."""
    assert {await _says(process), await _says(process)} == {"conversions/a", "all queued"}


async def _says(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        return (await process.stdout.readline()).decode().strip()


def test_what_a_killed_process_left_is_told_and_done(new_database: Callable[[], str]) -> None:
    url = new_database()

    async def play() -> list[str]:
        async with _process(url, "conversions/a", "conversions/b") as process:
            await _begun(process)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        work = Work()
        work.let("a")
        work.let("b")
        limits = dict.fromkeys(JobKind, 1)
        engine = await DbosEngine.open(
            EXECUTOR, work.run, limits, database=dispatch(url), poll_s=POLL_S
        )
        try:
            # What ran waits for one who knows that it is dead.
            assert Standing(_job("a"), "other") in await engine.standing()
            await engine.start(_job("a"))
            assert (await engine.standing())[0] == Standing(_job("a"), "other")
            left = [each.job for each in await engine.standing() if each.executor == "other"]
            await engine.resume(left)
            await work.until("a ended")
            await work.until("b ended")
            await _until_none(engine)
            assert await engine.standing() == []
        finally:
            await engine.shutdown()
        return work.events

    assert sorted(asyncio.run(play())) == ["a began", "a ended", "b began", "b ended"]


def test_what_an_older_version_left_is_done_by_a_newer_one(
    new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    monkeypatch.setattr(dbos_engine, "VERSION", dbos_engine.VERSION + 1)

    async def play() -> list[str]:
        async with _process(url, "conversions/a", "conversions/b") as process:
            await _begun(process)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        work = Work()
        work.let("a")
        work.let("b")
        limits = dict.fromkeys(JobKind, 1)
        engine = await DbosEngine.open(
            EXECUTOR, work.run, limits, database=dispatch(url), poll_s=POLL_S
        )
        try:
            left = await engine.standing()
            assert [each.job for each in left] == [_job("a"), _job("b")]
            assert all(each.executor == "other" or each.outdated for each in left)
            await engine.resume([each.job for each in left])
            assert not any(each.outdated for each in await engine.standing())
            await work.until("b ended")
            await _until_none(engine)
        finally:
            await engine.shutdown()
        return work.events

    assert asyncio.run(play()) == ["a began", "a ended", "b began", "b ended"]


@pytest.mark.parametrize("way", ["cancelled", "taken over"])
def test_another_living_process_stops_what_is_no_more_its_own(
    new_database: Callable[[], str], way: str
) -> None:
    url = new_database()

    async def play() -> None:
        async with _process(url, "conversions/a") as process:
            await _begun(process)
            work = Work()
            limits = dict.fromkeys(JobKind, 1)
            engine = await DbosEngine.open(
                EXECUTOR, work.run, limits, database=dispatch(url), poll_s=POLL_S
            )
            try:
                await engine.start(_job("a"))
                if way == "cancelled":
                    await engine.cancel(_job("a"))
                else:
                    await engine.resume([_job("a")])
                assert await _says(process) == "stopped"
                assert "other" not in {each.executor for each in await engine.standing()}
            finally:
                await engine.shutdown()

    asyncio.run(play())


async def _until_none(engine: Engine) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await engine.standing():
            await asyncio.sleep(0)


def test_a_job_that_raises_does_not_stop_the_others(make: Make) -> None:
    ran: list[str] = []

    async def run(job: Job) -> None:
        ran.append(job.resource)
        if job.resource.endswith("bad"):
            raise RuntimeError("a fault of ours")

    async def play() -> None:
        engine = await make(run, 1)
        for name in ("bad", "good"):
            await engine.start(_job(name))
        async with asyncio.timeout(LIMIT_S):
            while await engine.standing():
                await asyncio.sleep(0)
        await engine.shutdown()

    asyncio.run(play())
    assert ran == ["conversions/bad", "conversions/good"]


def test_what_is_ahead_of_a_queued_job_is_told(make: Make) -> None:
    async def scenario() -> None:
        work = Work()
        engine = await make(work.run, 1)
        await engine.start(_job("other", JobKind.INSPECTION))
        for name in "abc":
            await engine.start(_job(name))
        await work.until("a began")
        lines = await engine.lines()
        assert lines.ahead_of(_job("c")) == [_job("a"), _job("b")]
        assert lines.ahead_of(_job("a")) == []
        assert lines.ahead_of(_job("nobody")) == []
        assert (lines.knows(_job("a")), lines.knows(_job("nobody"))) == (True, False)
        work.let("a")
        await work.until("b began")
        assert (await engine.lines()).ahead_of(_job("c")) == [_job("b")]
        await engine.shutdown()

    asyncio.run(scenario())
