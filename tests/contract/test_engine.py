"""What any engine promises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from edgeconv.server.engine.asyncio_engine import AsyncioEngine
from edgeconv.server.engine.engine import Engine, Job, JobKind, RunJob

Make = Callable[[RunJob, int], Engine]
EXECUTOR = "me"


def _asyncio_engine(run: RunJob, conversions: int) -> Engine:
    limits = {JobKind.CONVERSION: conversions, JobKind.INSPECTION: 1}
    return AsyncioEngine(EXECUTOR, run, limits)


@pytest.fixture(params=[_asyncio_engine])
def make(request: pytest.FixtureRequest) -> Make:
    made: Make = request.param
    return made


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
        async with asyncio.timeout(10):
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
        engine = make(work.run, conversions)
        await scenario(engine, work)
        await engine.shutdown()
        return work.events

    return asyncio.run(play())


def test_jobs_run_in_order_and_no_more_at_once_than_allowed(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        for name in "abc":
            await engine.start(_job(name))
        await work.until("b began")
        assert work.events == ["a began", "b began"]
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


def test_pending_are_the_jobs_of_that_executor(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        for name in "abc":
            await engine.start(_job(name))
        assert await engine.pending(EXECUTOR) == [_job("a"), _job("b"), _job("c")]
        assert await engine.pending("another") == []
        work.let("a")
        await work.until("b began")
        assert await engine.pending(EXECUTOR) == [_job("b"), _job("c")]

    _play(make, scenario)


def test_resumed_jobs_come_before_those_that_wait(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        for name in "ab":
            await engine.start(_job(name))
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


def test_shutdown_interrupts_what_runs_and_drops_what_waits(make: Make) -> None:
    async def scenario(engine: Engine, work: Work) -> None:
        for name in "ab":
            await engine.start(_job(name))
        await work.until("a began")
        await engine.shutdown()
        assert work.events == ["a began", "a was cancelled"]
        await engine.start(_job("late"))
        assert await engine.pending(EXECUTOR) in ([], [_job("late")])

    assert _play(make, scenario) == ["a began", "a was cancelled"]


def test_a_job_that_raises_does_not_stop_the_others(make: Make) -> None:
    ran: list[str] = []

    async def run(job: Job) -> None:
        ran.append(job.resource)
        if job.resource.endswith("bad"):
            raise RuntimeError("a fault of ours")

    async def play() -> None:
        engine = make(run, 1)
        for name in ("bad", "good"):
            await engine.start(_job(name))
        async with asyncio.timeout(10):
            while await engine.pending(EXECUTOR):
                await asyncio.sleep(0)
        await engine.shutdown()

    asyncio.run(play())
    assert ran == ["conversions/bad", "conversions/good"]


def test_what_is_ahead_of_a_queued_job_is_told(make: Make) -> None:
    async def scenario() -> None:
        work = Work()
        engine = make(work.run, 1)
        await engine.start(_job("other", JobKind.INSPECTION))
        for name in "abc":
            await engine.start(_job(name))
        await work.until("a began")
        assert await engine.ahead_of(_job("c")) == [_job("a"), _job("b")]
        assert await engine.ahead_of(_job("a")) == []
        assert await engine.ahead_of(_job("nobody")) == []
        work.let("a")
        await work.until("b began")
        assert await engine.ahead_of(_job("c")) == [_job("b")]
        await engine.shutdown()

    asyncio.run(scenario())
