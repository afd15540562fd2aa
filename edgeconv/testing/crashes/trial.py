"""Servers that are killed one after another while jobs go through them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.server.crash_points import CrashPoint
from edgeconv.testing.crashes.caller import Caller
from edgeconv.testing.crashes.cases import (
    Case,
    aged,
    all_made,
    case,
    damaged,
    endless,
    measured_late,
    probe,
    real,
    repairing,
)
from edgeconv.testing.crashes.device import TirelessAgent
from edgeconv.testing.crashes.findings import (
    Expected,
    Findings,
    check_collected,
    check_ends,
    check_runs,
    check_tokens,
    elsewhere_s,
)
from edgeconv.testing.crashes.life import Nursery
from edgeconv.testing.crashes.outputs import (
    Aged,
    Stored,
    blob_path,
    damaged_blobs,
    held_digests,
    job_outputs,
    sent_by_devices,
    step_outputs,
)
from edgeconv.testing.crashes.reach import Reach
from edgeconv.testing.crashes.servers import Death, Kill, Servers
from edgeconv.testing.crashes.store_edits import (
    age,
    cut_connections,
    damage_artifact,
    spoil_plan,
    state_of,
)
from edgeconv.testing.quick_steps import WITHOUT_PAUSES, read_journal

CALLERS = 3
_IN_PEACE = 6
NEEDS_ONE_SERVER = (CrashPoint.RESULT_FORGOTTEN, CrashPoint.CONVERSION_FAILED)
"""What leads there is done while no server runs."""

_WITH_DATASET = (
    CrashPoint.DATASET_CREATED,
    CrashPoint.DATASET_INSPECTED,
    CrashPoint.DATASET_SETTLED,
    CrashPoint.CHILD_ENDED,
)
_COLLECTS = (
    CrashPoint.STEP_RETIRED,
    CrashPoint.CONVERSION_COLLECTED,
    CrashPoint.BYTES_REMOVED,
    CrashPoint.BLOB_REMOVED,
    CrashPoint.STORE_COLLECTED,
)
_CUT_EACH = 3
"""Before every so manieth death all connections of a shared database are cut, too."""
_DRAIN_S = 300.0
_LOOK_S = 0.05


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        stored: What stands in the store.
        jobs: Those whose outputs an undisturbed server has to give as well.
        findings: What is wrong, without a look at the outputs.
        elsewhere_s: From each death until a step that was under way is begun again.
        kills_s: What each kill took, with what had to be done before it and was to recover
            after it.
        cuts: How many connections to the database were cut, each time that all were.
        held: How many blobs something refers to, whose bytes were all read.
    """

    stored: Stored
    jobs: list[Case]
    deaths: list[Death]
    findings: Findings
    elsewhere_s: list[float]
    kills_s: list[float]
    cuts: list[int]
    held: int


class Trial:
    """A store, its servers, and jobs that go through them.

    Args:
        folder: Empty; all lies there.
        nursery: Where servers come from.
        feed: Whether jobs come all the time, and not only those that lead to a point.
        database: URL of an empty database for two servers; empty for one and its own.
        real_steps: Whether conversions are real ones.
        settings: More settings of the servers.
        patience_s: How long a server may take to come to the point where it is to die.
    """

    def __init__(
        self,
        folder: Path,
        nursery: Nursery,
        *,
        feed: bool = True,
        database: str = "",
        real_steps: bool = False,
        settings: Mapping[str, Any] | None = None,
        patience_s: float = 60.0,
    ) -> None:
        self._folder = folder
        self._reach = Reach()
        self._servers = Servers(
            folder, self._reach, nursery, database=database, real=real_steps,
            settings=settings, patience_s=patience_s,
        )  # fmt: skip
        self._caller = Caller(self._reach, folder)
        self._agent = TirelessAgent(self._reach)
        self._real = real_steps
        self._shared = bool(database)
        self._feeders_wanted = CALLERS if feed else 0
        self._feeders: list[asyncio.Task[None]] = []
        self._ends = asyncio.Event()
        self._numbers = itertools.count()
        self._jobs: list[Case] = []
        self._broken_off: set[str] = set()
        self._rerun: set[str] = set()
        self._aged: list[Aged] = []
        self._deaths: list[Death] = []
        self._kills_s: list[float] = []
        self._cuts: list[int] = []
        self._led: list[asyncio.Task[None]] = []

    async def run(self, kills: Sequence[Kill]) -> Outcome:
        """Kills servers so, lets the last one finish, and looks at what there is.

        The outputs are there to be compared with those of `undisturbed`.
        """
        async with self._at_work():
            for number, kill in enumerate(kills):
                began = time.monotonic()
                await self._prepare(number, kill)
                self._deaths.append(await self._live(number, kill))
                self._kills_s.append(time.monotonic() - began)
            async with self._servers.living():
                self._ends.set()
                # What has not ended by then is found in the store.
                await _ended([*self._led, *self._feeders])
        return await self._look()

    async def in_peace(self, jobs: Iterable[Case]) -> Expected:
        """What a server makes of jobs that nobody kills."""
        async with self._at_work(), self._servers.living():
            left = iter(jobs)

            async def some() -> None:
                for each in left:
                    await self._caller.do(each)
                    if each.late:
                        await self._caller.measure(each)

            await asyncio.gather(*[some() for _ in range(_IN_PEACE)])
        stored = await self._servers.read()
        return Expected(job_outputs(stored), step_outputs(stored))

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._servers.open())
            self._agent_works = asyncio.create_task(self._agent.run())
            stack.push_async_callback(_cancelled, self._agent_works)
            for _ in range(self._feeders_wanted):
                task = asyncio.create_task(self._go_on_feeding())
                self._feeders.append(task)
                stack.push_async_callback(_cancelled, task)
            yield

    async def _go_on_feeding(self) -> None:
        await self._agent.heard.wait()
        while not self._ends.is_set():
            await self._do(case(next(self._numbers)))

    async def _do(self, job: Case) -> None:
        self._jobs.append(job)
        await self._caller.do(job)

    async def _live(self, number: int, kill: Kill) -> Death:
        if self._agent_works.done():
            # Without it, benchmarks wait for ever, and nobody says why.
            self._agent_works.result()

        async def lead() -> None:
            self._led.append(asyncio.create_task(self._lead(number, kill)))
            if self._shared and number % _CUT_EACH == 0:
                cut = await asyncio.to_thread(cut_connections, self._servers.url)
                self._cuts.append(cut)

        return await self._servers.live(kill, lead)

    async def _prepare(self, number: int, kill: Kill) -> None:
        """Does what must have happened before a server can come to a point."""
        servers = self._servers
        if kill.point == CrashPoint.RESULT_FORGOTTEN:
            async with servers.living():
                await self._do(damaged(number))
            self._rerun.add(
                await asyncio.to_thread(
                    damage_artifact, servers.url, servers.blobs, damaged(number).name
                )
            )
        elif kill.point == CrashPoint.CONVERSION_FAILED:
            async with servers.living():
                conversion = await self._break_off(endless(number))
                await self._until_begun(conversion)
            await asyncio.to_thread(spoil_plan, servers.url, conversion)
        elif kill.point in _COLLECTS:
            async with servers.living():
                await self._caller.do(aged(number))
            self._aged.append(await asyncio.to_thread(age, servers.url, aged(number).name))
        elif kill.point == CrashPoint.BENCHMARK_CREATED:
            async with servers.living():
                await self._do(measured_late(number))

    async def _lead(self, number: int, kill: Kill) -> None:
        """Leads a server to where it is to die."""
        if self._real:
            return await self._do(real(number))
        await self._agent.heard.wait()
        match kill.point:
            case CrashPoint.CONVERSION_CANCELLED | CrashPoint.JOB_CANCELLED:
                await self._caller.cancel(await self._break_off(endless(number)))
            case CrashPoint.RESULT_FORGOTTEN:
                await self._do(repairing(number))
            case CrashPoint.BENCHMARK_CREATED:
                await self._caller.measure(measured_late(number))
            case CrashPoint.VARIANT_MADE:
                await self._do(all_made(number))
            case point if point in _COLLECTS:
                await self._caller.collect()
            case _:
                # The child that read a dataset is not kept.
                dataset = kill.point in _WITH_DATASET
                await self._do(probe(number, dataset=dataset))

    async def _break_off(self, job: Case) -> str:
        self._broken_off.add(job.name)
        return await self._caller.start(job)

    async def _until_begun(self, conversion: str) -> None:
        async with asyncio.timeout(_DRAIN_S):
            while await asyncio.to_thread(state_of, self._servers.url, conversion) == "queued":
                await asyncio.sleep(_LOOK_S)

    async def _look(self) -> Outcome:
        servers = self._servers
        stored = await servers.read()
        journal = read_journal(self._folder / "journal")
        findings = check_ends(stored)
        findings.ended += [f"{d.server}: {d.fault}" for d in self._deaths if d.fault]
        findings.add(check_tokens(stored, self._deaths, self._rerun, self._aged))
        old = frozenset[str]().union(*(each.digests for each in self._aged))
        found = {digest for digest in old if blob_path(servers.blobs, digest).exists()}
        findings.add(check_collected(stored, self._aged, found))
        if not self._real:
            findings.add(
                check_runs(stored, journal, ended_ns=servers.ended_ns, may_run_again=self._rerun)
            )
        for left in servers.orphans:
            findings.orphans += await left
        held = sent_by_devices(stored) | await held_digests(servers.url)
        bad = await asyncio.to_thread(damaged_blobs, held, servers.blobs)
        findings.missing += [f"the bytes of {digest} of {held[digest]}" for digest in bad]
        findings.unfinished += [
            f"the events of {name} came as {told}"
            for name, told in self._caller.told.items()
            if told != list(range(1, len(told) + 1))
        ]
        return Outcome(
            stored, [job for job in self._jobs if job.name not in self._broken_off],
            self._deaths, findings, elsewhere_s(journal, servers.ended_ns), self._kills_s,
            self._cuts, len(held),
        )  # fmt: skip


async def undisturbed(
    folder: Path, nursery: Nursery, jobs: Iterable[Case], *, real_steps: bool = False
) -> Expected:
    """What a server makes of jobs that nobody kills, many at once and without a pause.

    Args:
        folder: That of the trial: jobs name it for their journal. What stood in it has gone.
    """
    quick = {"child_entry": WITHOUT_PAUSES, "jobs_at_once": _IN_PEACE}
    settings = {} if real_steps else quick
    trial = Trial(folder, nursery, feed=False, real_steps=real_steps, settings=settings)
    return await trial.in_peace(jobs)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    done, late = await asyncio.wait(tasks, timeout=_DRAIN_S) if tasks else (set(), set())
    for task in late:
        await _cancelled(task)
    for task in done:
        task.result()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
