"""Servers that are killed one after another while jobs go through them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeconv.base.state_folder import Endpoint, StateFolder
from edgeconv.server.crash_points import CrashPoint
from edgeconv.testing.crashes.caller import Caller
from edgeconv.testing.crashes.cases import (
    Case,
    case,
    damaged,
    endless,
    measured_late,
    probe,
    repairing,
)
from edgeconv.testing.crashes.device import TirelessAgent
from edgeconv.testing.crashes.findings import (
    Expected,
    Findings,
    check_ends,
    check_runs,
    elsewhere_s,
)
from edgeconv.testing.crashes.life import Life, Nursery, children_of, nursery
from edgeconv.testing.crashes.outputs import (
    Stored,
    damaged_blobs,
    job_outputs,
    read_store,
    step_outputs,
)
from edgeconv.testing.crashes.reach import Reach
from edgeconv.testing.crashes.store_edits import damage_artifact, spoil_plan, state_of
from edgeconv.testing.quick_steps import read_journal

CALLERS = 3
ORPHAN_S = 5.0
_UNREACHED_S = 60.0
_DRAIN_S = 180.0
_LOOK_S = 0.05


@dataclass(frozen=True)
class Kill:
    """How a server is to die: at a point for the nth time, or so long after it listens."""

    point: str = ""
    number: int = 1
    after_s: float = 0.0


@dataclass(frozen=True)
class Death:
    """How it died.

    Attributes:
        server: Its process.
        point: The crash point that it died at; empty for one that was killed from outside.
    """

    kill: Kill
    server: int
    point: str


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        stored: What stands in the store.
        jobs: Those whose outputs an undisturbed server has to give as well.
        findings: What is wrong, without a look at the outputs.
        elsewhere_s: From each death until a step that was under way is begun again.
    """

    stored: Stored
    jobs: list[Case]
    deaths: list[Death]
    findings: Findings
    elsewhere_s: list[float]


class Trial:
    """A store, its servers, and jobs that go through them.

    Args:
        folder: Empty; all lies there.
        feed: Whether jobs come all the time, and not only those that lead to a point.
    """

    def __init__(self, folder: Path, *, feed: bool = True) -> None:
        self._folder = folder
        self._state = StateFolder(folder / "state")
        self._url = f"sqlite:///{self._state.database}"
        self._reach = Reach()
        self._caller = Caller(self._reach, folder)
        self._agent = TirelessAgent(self._reach)
        self._feed = feed
        self._ends = asyncio.Event()
        self._numbers = itertools.count()
        self._jobs: list[Case] = []
        self._broken_off: set[str] = set()
        self._rerun: set[str] = set()
        self._deaths: list[Death] = []
        self._ended_ns: dict[int, int] = {}
        self._orphans: list[asyncio.Task[list[str]]] = []
        self._led: list[asyncio.Task[None]] = []
        self._nursery: Nursery | None = None

    async def run(self, kills: Sequence[Kill]) -> Outcome:
        """Kills servers so, lets the last one finish, and looks at what there is.

        The outputs are there to be compared with those of `undisturbed`.
        """
        async with self._at_work():
            for number, kill in enumerate(kills):
                await self._prepare(number, kill)
                await self._live(number, kill)
            async with self._living():
                self._ends.set()
                # What has not ended by then is found in the store.
                await _ended([*self._led, *self._feeders])
        return await self._look()

    async def undisturbed(self, jobs: Iterable[Case]) -> Expected:
        """What a server makes of jobs that nobody kills."""
        async with self._at_work(), self._living():
            left = iter(jobs)

            async def some() -> None:
                for each in left:
                    await self._caller.do(each)
                    if each.late:
                        await self._caller.measure(each)

            await asyncio.gather(*[some() for _ in range(CALLERS)])
        stored = await asyncio.to_thread(read_store, self._url)
        return Expected(job_outputs(stored), step_outputs(stored))

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            agent = asyncio.create_task(self._agent.run())
            stack.push_async_callback(_cancelled, agent)
            self._feeders = [
                asyncio.create_task(self._go_on_feeding()) for _ in range(CALLERS * self._feed)
            ]
            for task in self._feeders:
                stack.push_async_callback(_cancelled, task)
            self._nursery = await stack.enter_async_context(nursery(self._folder / "logs"))
            yield

    async def _go_on_feeding(self) -> None:
        await self._agent.heard.wait()
        while not self._ends.is_set():
            await self._do(case(next(self._numbers)))

    async def _do(self, job: Case) -> str:
        self._jobs.append(job)
        return await self._caller.do(job)

    @asynccontextmanager
    async def _living(self) -> AsyncIterator[Life]:
        """A server that is not killed."""
        life, endpoint = await self._next_life("")
        if endpoint is None:
            raise RuntimeError(f"the server died: {life.last_words}")
        self._reach.add(endpoint)
        try:
            yield life
        finally:
            self._reach.remove(endpoint)
            await life.stop()
            self._ended_ns[life.pid] = time.time_ns()

    async def _live(self, number: int, kill: Kill) -> None:
        """A server that is killed."""
        life, endpoint = await self._next_life(f"{kill.point}:{kill.number}" if kill.point else "")
        if endpoint is not None:
            self._reach.add(endpoint)
            self._led.append(asyncio.create_task(self._lead(number, kill)))
            await life.death(_UNREACHED_S if kill.point else kill.after_s)
            self._reach.remove(endpoint)
        await life.kill()
        self._ended_ns[life.pid] = time.time_ns()
        self._deaths.append(Death(kill, life.pid, life.last_point))
        self._orphans.append(asyncio.create_task(_orphans(life.pid)))

    async def _next_life(self, crash: str) -> tuple[Life, Endpoint | None]:
        """The next server, and where it listens, unless it died before that."""
        assert self._nursery is not None
        life = await self._nursery.birth(self._state.root, crash)
        return life, await life.listens()

    async def _prepare(self, number: int, kill: Kill) -> None:
        """Does what must have happened before a server can come to a point."""
        if kill.point == CrashPoint.RESULT_FORGOTTEN:
            async with self._living():
                await self._do(damaged(number))
            order = await asyncio.to_thread(
                damage_artifact, self._url, self._state.blobs, damaged(number).name
            )
            self._rerun.add(order)
        elif kill.point == CrashPoint.CONVERSION_FAILED:
            async with self._living():
                conversion = await self._break_off(endless(number))
                await self._until_begun(conversion)
            await asyncio.to_thread(spoil_plan, self._url, conversion)
        elif kill.point == CrashPoint.BENCHMARK_CREATED:
            async with self._living():
                await self._do(measured_late(number))

    async def _lead(self, number: int, kill: Kill) -> None:
        """Leads a server to where it is to die."""
        await self._agent.heard.wait()
        match kill.point:
            case CrashPoint.CONVERSION_CANCELLED | CrashPoint.JOB_CANCELLED:
                await self._caller.cancel(await self._break_off(endless(number)))
            case CrashPoint.RESULT_FORGOTTEN:
                await self._do(repairing(number))
            case CrashPoint.BENCHMARK_CREATED:
                await self._caller.measure(measured_late(number))
            case _:
                await self._do(probe(number, dataset=kill.point.startswith("dataset")))

    async def _break_off(self, job: Case) -> str:
        self._broken_off.add(job.name)
        return await self._caller.start(job)

    async def _until_begun(self, conversion: str) -> None:
        async with asyncio.timeout(_DRAIN_S):
            while await asyncio.to_thread(state_of, self._url, conversion) == "queued":
                await asyncio.sleep(_LOOK_S)

    async def _look(self) -> Outcome:
        stored = await asyncio.to_thread(read_store, self._url)
        journal = read_journal(self._folder / "journal")
        findings = check_ends(stored)
        findings.add(
            check_runs(stored, journal, ended_ns=self._ended_ns, may_run_again=self._rerun)
        )
        for death in self._orphans:
            findings.orphans += await death
        bad = await asyncio.to_thread(damaged_blobs, stored, self._state.blobs)
        findings.missing += [f"the bytes of {digest}" for digest in bad]
        findings.unfinished += [
            f"the events of {name} came as {told}"
            for name, told in self._caller.told.items()
            if told != list(range(1, len(told) + 1))
        ]
        waits = elsewhere_s(journal, self._ended_ns)
        return Outcome(
            stored, [job for job in self._jobs if job.name not in self._broken_off],
            self._deaths, findings, waits,
        )  # fmt: skip


async def _orphans(server: int) -> list[str]:
    """Children that outlive their server by too much."""
    deadline = time.monotonic() + ORPHAN_S
    while left := await asyncio.to_thread(children_of, server):
        if time.monotonic() > deadline:
            return [f"{child} of server {server}" for child in left]
        await asyncio.sleep(_LOOK_S)
    return []


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    done, late = await asyncio.wait(tasks, timeout=_DRAIN_S) if tasks else (set(), set())
    for task in late:
        await _cancelled(task)
    for task in done:
        task.result()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
