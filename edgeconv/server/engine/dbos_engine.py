"""An engine on DBOS: jobs stand in a database, so that they outlive the process.

Each attempt at a job is one workflow with one step in it, and the step does the whole job over
the tables of the store. DBOS says who runs what; it keeps no result of a job and no failure.

An embedded database has one process. There an attempt is begun at once and waits for a place in
this process; nothing polls. Of a shared database the processes take attempts off queues, which
they look at every so often.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from dbos import (
    DBOS,
    SetEnqueueOptions,
    SetWorkflowID,
    WorkflowStatus,
    error,
)

from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.engine.dbos_process import end, launch
from edgeconv.server.engine.engine import Job, JobKind, RunJob, Standing
from edgeconv.server.engine.lines import Lines
from edgeconv.server.engine.places import Places, Turn
from edgeconv.server.engine.recent import Recent
from edgeconv.server.engine.unbegun import Unbegun

_LOG = logging.getLogger(__name__)

R = TypeVar("R")

VERSION = 1
"""Of what a workflow is made of: its name and arguments. Not of what a job does: the code may
change while jobs are queued. A newer server takes what is queued for an older one."""

_LIVE = ["ENQUEUED", "PENDING"]
_ENDED = ["SUCCESS", "ERROR", "CANCELLED"]
_FRONT, _BACK = 1, 2
_KEPT = timedelta(minutes=10)
_TIDY_S = 60.0
_TIDY_AT_ONCE = 500
_WORK_END_S = 10.0
_ROW_S, _ROW_LOOKS = 0.05, 20
_BEGIN_S = 5.0
"""Much longer than an attempt takes from the queue to its task; a short one costs an attempt."""

_CANCELLED = (error.DBOSWorkflowCancelledError, error.DBOSAwaitedWorkflowCancelledError)

_open: DbosEngine | None = None
"""DBOS knows one instance a process, and its workflows are functions of a module."""


class DbosEngine:
    """Runs each kind of job in the order started, so many side by side as its limit says.

    Several processes on one database share the jobs; each has an executor's name of its own.
    """

    def __init__(
        self, executor: str, run: RunJob, limits: Mapping[JobKind, int], *, embedded: bool
    ) -> None:
        self._executor = executor
        self._run = run
        self._embedded = embedded
        self._places = Places(limits)
        self._lock = asyncio.Lock()
        self._last_ns = 0
        self._tasks: dict[str, tuple[Job, asyncio.Task[str]]] = {}
        self._turns: dict[str, Turn] = {}
        # Rows may tell of a while ago.
        self._over = Recent()
        self._cancelled = Recent()
        self._calls: set[asyncio.Task[Any]] = set()
        self._workflows: dict[str, asyncio.Task[Any]] = {}
        self._unbegun = Unbegun(_BEGIN_S)
        self._closed = False
        self._tidying: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        executor: str,
        run: RunJob,
        limits: Mapping[JobKind, int],
        *,
        database: Any,
        poll_s: float,
    ) -> Self:
        """Begins to take jobs.

        Args:
            executor: The name of this process; never used by two.
            limits: How many jobs of a kind run here side by side.
            database: SQLAlchemy's engine for the queues, as `store.database.dispatch` makes it.
            poll_s: How often the queues of a shared database are looked at.

        Raises:
            RuntimeError: another engine is open in this process.
        """
        global _open
        if _open is not None:
            raise RuntimeError("one process can run one engine at a time")
        embedded = database.dialect.name == "sqlite"
        engine = cls(executor, run, limits, embedded=embedded)
        _open = engine
        try:
            launch(executor, database, VERSION)
            if not embedded:
                for kind in JobKind:
                    await DBOS.register_queue_async(
                        kind.value, worker_concurrency=limits[kind], polling_interval_sec=poll_s,
                        on_conflict="always_update",
                    )  # fmt: skip
        except BaseException:
            await engine.shutdown()
            raise
        engine._tidying = asyncio.create_task(engine._tidy_forever(), name="tidy queues")
        return engine

    async def start(self, job: Job) -> None:
        """As `Engine` says."""
        if not self._closed:
            await self._to_its_end(self._start(job))

    async def resume(self, jobs: Sequence[Job]) -> None:
        """As `Engine` says."""
        if not self._closed:
            await self._to_its_end(self._resume(jobs))

    async def cancel(self, job: Job) -> None:
        """As `Engine` says."""
        if not self._closed:
            await self._to_its_end(self._cancel(job))

    async def standing(self) -> list[Standing]:
        """As `Engine` says."""
        return [
            Standing(
                _job_of(row),
                "" if row.status == "ENQUEUED" else row.executor_id or "",
                outdated=row.status == "ENQUEUED" and _version_of(row) < VERSION,
                lost=self._is_lost(row),
            )
            for row in await self._in_order()
        ]

    async def lines(self) -> Lines:
        """As `Engine` says."""
        return Lines.of([(_job_of(row), self._waits(row)) for row in await self._in_order()])

    async def shutdown(self) -> None:
        """As `Engine` says."""
        global _open
        if self._closed:
            return
        self._closed = True
        if self._tidying is not None:
            await _interrupted([self._tidying])
        await _interrupted([task for _, task in self._tasks.values()])
        # DBOS ends without waiting for what runs of its own, which would go on without it.
        if at_work := self._calls.union(self._workflows.values()):
            await asyncio.wait(at_work, timeout=_WORK_END_S)
        # It had put its threads in the place of the loop's, and ends them.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        await asyncio.to_thread(end)
        _open = None

    async def _start(self, job: Job) -> None:
        async with self._lock:
            if not self._embedded:
                await self._enqueue(job, _BACK)
            elif not await self._attempts(job):
                await self._begin(job, _BACK)
        reached(CrashPoint.JOB_QUEUED)

    async def _resume(self, jobs: Sequence[Job]) -> None:
        async with self._lock:
            known: set[Job] = set()
            left: dict[Job, list[str]] = {}
            for row in await self._rows():
                job = _job_of(row)
                if self._will_be_run(row):
                    known.add(job)
                else:
                    left.setdefault(job, []).append(row.workflow_id)
            for job in jobs:
                if job in known or self._closed:
                    continue
                if not await self._taken_from(left.get(job, [])):
                    continue
                await (self._begin if self._embedded else self._enqueue)(job, _FRONT)

    async def _taken_from(self, left: list[str]) -> bool:
        """Ends attempts, so that there can be a new one; False when one of them begins here."""
        # Of those that were lost: the dispatch of one may only be slow. Nothing may come between
        # this look and the note, without which it would begin beside the new attempt.
        if any(self._has(attempt) for attempt in left):
            return False
        self._cancelled.note(left)
        for attempt in left:
            if attempt in self._unbegun:
                _LOG.warning("%s was lost before it began, and is queued again", attempt)
        if left:
            # The executor that left it stops, should it live.
            await DBOS.cancel_workflows_async(left)
        return True

    async def _cancel(self, job: Job) -> None:
        here = [attempt for attempt, (mine, _) in self._tasks.items() if mine == job]
        # At once, whatever the queues are busy with.
        await self._interrupt(job)
        async with self._lock:
            attempts = [*here, *(each for each in await self._attempts(job) if each not in here)]
            # For those that were taken off the queue and have not begun.
            self._cancelled.note(attempts)
            if attempts:
                await DBOS.cancel_workflows_async(attempts)
        await self._interrupt(job)

    async def _interrupt(self, job: Job) -> None:
        await _interrupted([task for mine, task in self._tasks.values() if mine == job])

    async def _attempts(self, job: Job) -> list[str]:
        rows = await self._rows(f"{job.resource}@")
        return [row.workflow_id for row in rows if _job_of(row) == job]

    async def _rows(self, prefix: str | None = None) -> list[WorkflowStatus]:
        """What is queued or runs, on any executor."""
        rows = await DBOS.list_workflows_async(
            status=_LIVE, workflow_id_prefix=prefix, name="edgeconv.job", load_output=False
        )
        return [row for row in rows if row.workflow_id not in self._over]

    async def _in_order(self) -> list[WorkflowStatus]:
        if self._closed:
            return []
        rows = await self._to_its_end(self._rows())
        self._unbegun.see(
            row.workflow_id for row in rows if self._is_ours(row) and not self._has(row.workflow_id)
        )
        return sorted(rows, key=lambda row: (self._waits(row), _rank_of(row.workflow_id)))

    def _waits(self, row: WorkflowStatus) -> bool:
        if row.executor_id != self._executor or row.status == "ENQUEUED":
            return row.status == "ENQUEUED"
        turn = self._turns.get(row.workflow_id)
        return turn is None or turn.waits

    def _will_be_run(self, row: WorkflowStatus) -> bool:
        if row.status == "ENQUEUED":
            return _version_of(row) >= VERSION
        return self._is_ours(row) and not self._is_lost(row)

    def _is_ours(self, row: WorkflowStatus) -> bool:
        return row.status == "PENDING" and row.executor_id == self._executor

    def _is_lost(self, row: WorkflowStatus) -> bool:
        """Whether it stands as ours, and never began here."""
        attempt = row.workflow_id
        return self._is_ours(row) and attempt in self._unbegun and not self._has(attempt)

    def _has(self, attempt: str) -> bool:
        """Whether it waits for its place here or is at work."""
        return attempt in self._turns or attempt in self._workflows

    async def _begin(self, job: Job, side: int) -> None:
        attempt = self._new_attempt(job, side)
        # Now: what is begun after it must not come before it.
        self._turns[attempt] = self._places.ask(job.kind, _rank_of(attempt))
        try:
            with SetWorkflowID(attempt):
                await DBOS.start_workflow_async(_attempt, job.kind.value, job.resource)
        except BaseException:
            self._turns.pop(attempt).leave()
            raise

    async def _enqueue(self, job: Job, side: int) -> None:
        """Queues a job unless an attempt at it is queued or runs, here or elsewhere."""
        for _ in range(_ROW_LOOKS):
            if await self._enqueued(job, side):
                return
            if await self._attempts(job):
                break
            # An attempt has ended, and its row does not say so yet.
            await asyncio.sleep(_ROW_S)
        _LOG.debug("%s is queued or runs", job.resource)

    async def _enqueued(self, job: Job, side: int) -> bool:
        """Whether it could be queued; not beside another attempt."""
        options = SetEnqueueOptions(deduplication_id=job.resource, priority=side)
        with SetWorkflowID(self._new_attempt(job, side)), options:
            try:
                kind = job.kind.value
                await DBOS.enqueue_workflow_async(kind, _attempt, kind, job.resource)
            except error.DBOSQueueDeduplicatedError:
                return False
        return True

    def _new_attempt(self, job: Job, side: int) -> str:
        """A name that tells the order too: DBOS's times are whole seconds on SQLite."""
        self._last_ns = max(self._last_ns + 1, time.time_ns())
        return f"{job.resource}@{side}-{self._last_ns:020d}"

    async def work(self, attempt: str, job: Job) -> str:
        """Does a job for the workflow `attempt`; the words of a fault of ours, or none.

        Raises:
            CancelledError: it was interrupted; DBOS then writes nothing about it.
        """
        if self._closed or attempt in self._cancelled:
            self._cancelled.drop(attempt)
            raise asyncio.CancelledError
        # Not as a part of the workflow: what it starts are jobs of their own.
        task = asyncio.create_task(
            self._in_its_place(attempt, job), name=job.resource, context=contextvars.Context()
        )
        self._tasks[attempt] = (job, task)
        try:
            return await task
        finally:
            del self._tasks[attempt]
            self._cancelled.drop(attempt)
            # Its row says so a moment later only.
            self._over.note([attempt])

    async def _in_its_place(self, attempt: str, job: Job) -> str:
        turn = self._turns.get(attempt)
        if turn is None:
            turn = self._turns[attempt] = self._places.ask(job.kind, _rank_of(attempt))
        try:
            await turn.come()
            reached(CrashPoint.JOB_TAKEN)
            await self._run(job)
        except Exception as fault:
            # The runner writes every end itself; what comes here is a fault of ours, and
            # the queue must go on.
            _LOG.exception("%s broke off", job.resource)
            return repr(fault)
        finally:
            turn.leave()
        reached(CrashPoint.JOB_LEFT)
        return ""

    def note_workflow(self, attempt: str) -> None:
        """Called by a workflow, in the task that DBOS made for it and does not wait for."""

        def forget(task: asyncio.Task[Any]) -> None:
            self._workflows.pop(attempt, None)
            self._cancelled.drop(attempt)
            # It may have been cancelled before it came to its work.
            if turn := self._turns.pop(attempt, None):
                turn.leave()
            fault = None if task.cancelled() else task.exception()
            # Nobody waits for it; that it was cancelled is not news.
            if fault is not None and not isinstance(fault, _CANCELLED):
                _LOG.error("%s broke off in its engine", attempt, exc_info=fault)

        task = asyncio.current_task()
        assert task is not None
        self._workflows[attempt] = task
        task.add_done_callback(forget)

    async def _to_its_end(self, call: Coroutine[Any, Any, R]) -> R:
        """Does a call of DBOS; a cancelled caller stops waiting, and the call goes on.

        It is done by threads of DBOS, which are to have nothing to do when that ends.
        """
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await asyncio.shield(task)

    async def _tidy_forever(self) -> None:
        """Forgets attempts that have ended: what came of them stands in the store."""
        while True:
            try:
                await self._to_its_end(_tidy())
            except Exception:
                # The next round may do better.
                _LOG.exception("ended attempts could not be forgotten")
            await asyncio.sleep(_TIDY_S)
            self._over.age()
            self._cancelled.age()


@DBOS.step(name="edgeconv.job.run", preemptible=True)
async def _run_job(kind: str, resource: str) -> str:
    attempt = DBOS.workflow_id
    assert _open is not None
    assert attempt is not None
    return await _open.work(attempt, Job(JobKind(kind), resource))


@DBOS.workflow(name="edgeconv.job")
async def _attempt(kind: str, resource: str) -> str:
    assert _open is not None
    assert DBOS.workflow_id is not None
    _open.note_workflow(DBOS.workflow_id)
    return await _run_job(kind, resource)


def _job_of(row: WorkflowStatus) -> Job:
    assert row.input is not None
    kind, resource = row.input["args"]
    return Job(JobKind(kind), resource)


def _rank_of(attempt: str) -> str:
    return attempt.rpartition("@")[2]


def _version_of(row: WorkflowStatus) -> int:
    return int(row.app_version or 0)


async def _interrupted(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _tidy() -> None:
    before = (datetime.now(UTC) - _KEPT).isoformat()
    while ended := await DBOS.list_workflows_async(
        status=_ENDED, completed_before=before, limit=_TIDY_AT_ONCE,
        load_input=False, load_output=False,
    ):  # fmt: skip
        await DBOS.delete_workflows_async([row.workflow_id for row in ended])
