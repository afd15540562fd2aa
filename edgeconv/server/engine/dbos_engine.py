"""An engine on DBOS: jobs are queued in a database, so that they outlive the process.

Each attempt at a job is one workflow with one step in it, and the step does the whole job over
the tables of the store. DBOS says who runs what; it keeps no result of a job and no failure.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    SetEnqueueOptions,
    SetWorkflowID,
    WorkflowStatus,
    error,
)

from edgeconv.base.ids import new_id
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.engine.engine import Job, JobKind, RunJob

_LOG = logging.getLogger(__name__)

_NAME = "edgeconv"

_VERSION = "1"
"""Of what a workflow is made of: its name and arguments. Not of what a job does: the code may
change while jobs are queued."""

_LIVE = ["ENQUEUED", "PENDING"]
_ENDED = ["SUCCESS", "ERROR", "CANCELLED"]
_FRONT, _BACK = 1, 1 << 30
_KEPT = timedelta(minutes=10)
_TIDY_S = 60.0
_TIDY_AT_ONCE = 500

_open: DbosEngine | None = None
"""DBOS knows one instance a process, and its workflows are functions of a module."""


class DbosEngine:
    """Runs each kind of job in the order started, so many side by side as its limit says.

    Several processes on one database share the jobs; each has an executor's name of its own.
    """

    def __init__(
        self, executor: str, run: RunJob, front: Iterator[int], back: Iterator[int]
    ) -> None:
        self._executor = executor
        self._run = run
        self._front = front
        self._back = back
        self._running: dict[str, tuple[Job, asyncio.Task[str]]] = {}
        self._cancelled: set[str] = set()
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
        """Begins to take jobs off the queues.

        Args:
            executor: The name of this process; never used by two.
            limits: How many jobs of a kind run here side by side.
            database: SQLAlchemy's engine for the queues, as `store.database.dispatch` makes it.
            poll_s: How often the queues are looked at.

        Raises:
            RuntimeError: another engine is open in this process.
        """
        global _open
        if _open is not None:
            raise RuntimeError("one process can run one engine at a time")
        sqlite = database.dialect.name == "sqlite"
        engine = cls(
            executor,
            run,
            itertools.count(_FRONT) if sqlite else itertools.repeat(_FRONT),
            itertools.count(_BACK) if sqlite else itertools.repeat(_BACK),
        )
        _open = engine
        try:
            if sqlite:
                await asyncio.to_thread(_make_queues, database, limits, poll_s)
            _launch(executor, database)
            if not sqlite:
                for kind in JobKind:
                    await DBOS.register_queue_async(
                        kind.value, worker_concurrency=limits[kind], polling_interval_sec=poll_s,
                        on_conflict="always_update",
                    )  # fmt: skip
            if sqlite:
                # Its times are whole seconds, so the order stands in the priority.
                last = max((row.priority or 0 for row in await _rows()), default=0)
                engine._back = itertools.count(max(last + 1, _BACK))
        except BaseException:
            await engine.shutdown()
            raise
        engine._tidying = asyncio.create_task(_tidy_forever(), name="tidy queues")
        return engine

    async def start(self, job: Job) -> None:
        """As `Engine` says."""
        if not self._closed:
            await _enqueue(job, next(self._back))

    async def resume(self, jobs: Sequence[Job]) -> None:
        """As `Engine` says."""
        known: set[Job] = set()
        left: dict[Job, list[str]] = {}
        for row in await _rows():
            job = _job_of(row)
            if row.app_version == _VERSION and self._will_be_run(row):
                known.add(job)
            else:
                left.setdefault(job, []).append(row.workflow_id)
        for job in jobs:
            if job in known or self._closed:
                continue
            if job in left:
                # A new attempt, so that the executor that left it stops, should it live.
                await DBOS.cancel_workflows_async(left[job])
            await _enqueue(job, next(self._front))

    async def cancel(self, job: Job) -> None:
        """As `Engine` says."""
        if self._closed:
            return
        rows = await _rows(f"{job.resource}@")
        attempts = [row.workflow_id for row in rows if _job_of(row) == job]
        # For those that were taken off the queue and have not begun.
        self._cancelled.update(attempts)
        if attempts:
            await DBOS.cancel_workflows_async(attempts)
        await _interrupted([task for mine, task in self._running.values() if mine == job])

    async def pending(self, executor: str) -> list[Job]:
        """As `Engine` says."""
        return [_job_of(row) for row in await self._in_order() if row.executor_id == executor]

    async def ahead_of(self, job: Job) -> list[Job]:
        """As `Engine` says."""
        rows = [row for row in await self._in_order() if _job_of(row).kind is job.kind]
        queued = [_job_of(row) for row in rows if row.status == "ENQUEUED"]
        if job not in queued:
            return []
        running = [_job_of(row) for row in rows if row.status != "ENQUEUED"]
        return [*running, *queued[: queued.index(job)]]

    async def _in_order(self) -> list[WorkflowStatus]:
        rows = [] if self._closed else await _rows()
        rows.sort(key=lambda row: (row.status != "PENDING", row.priority or 0, row.created_at or 0))
        return rows

    async def shutdown(self) -> None:
        """As `Engine` says."""
        global _open
        if self._closed:
            return
        self._closed = True
        if self._tidying is not None:
            await _interrupted([self._tidying])
        await _interrupted([task for _, task in self._running.values()])
        # The loop's threads are those of DBOS, which end with it.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        await asyncio.to_thread(DBOS.destroy)
        _open = None

    def _will_be_run(self, row: WorkflowStatus) -> bool:
        return row.status == "ENQUEUED" or row.executor_id == self._executor

    async def work(self, attempt: str, job: Job) -> str:
        """Does a job for the workflow `attempt`; the words of a fault of ours, or none.

        Raises:
            CancelledError: it was interrupted; DBOS then writes nothing about it.
        """
        if self._closed or attempt in self._cancelled:
            self._cancelled.discard(attempt)
            raise asyncio.CancelledError
        reached(CrashPoint.JOB_TAKEN)
        # Not as a part of the workflow: what it starts are jobs of their own.
        task = asyncio.create_task(
            self._guard(job), name=job.resource, context=contextvars.Context()
        )
        self._running[attempt] = (job, task)
        try:
            return await task
        finally:
            del self._running[attempt]
            self._cancelled.discard(attempt)

    async def _guard(self, job: Job) -> str:
        try:
            await self._run(job)
        except Exception as fault:
            # The runner writes every end itself; what comes here is a fault of ours, and
            # the queue must go on.
            _LOG.exception("%s broke off", job.resource)
            return repr(fault)
        reached(CrashPoint.JOB_LEFT)
        return ""


@DBOS.step(name="edgeconv.job.run", preemptible=True)
async def _run_job(kind: str, resource: str) -> str:
    attempt = DBOS.workflow_id
    assert _open is not None
    assert attempt is not None
    return await _open.work(attempt, Job(JobKind(kind), resource))


@DBOS.workflow(name="edgeconv.job")
async def _attempt(kind: str, resource: str) -> str:
    return await _run_job(kind, resource)


def _make_queues(database: Any, limits: Mapping[JobKind, int], poll_s: float) -> None:
    """Makes the queues before DBOS looks for new ones, which it does once a second.

    Only an embedded database is so often a new one that this second counts.
    """
    DBOS.migrate(_url(database))
    client = DBOSClient(
        system_database_engine=database, application_name=_NAME,
        serializer=DBOSPortableJSONSerializer(),
    )  # fmt: skip
    try:
        for kind in JobKind:
            client.register_queue(
                kind.value, worker_concurrency=limits[kind], polling_interval_sec=poll_s
            )
    finally:
        client.destroy()


def _url(database: Any) -> str:
    return str(database.url.render_as_string(hide_password=False))


def _launch(executor: str, database: Any) -> None:
    """Starts DBOS; to be called inside the event loop that jobs are to run in."""
    config: DBOSConfig = {
        "name": _NAME,
        "system_database_url": _url(database),
        "system_database_engine": database,
        "application_version": _VERSION,
        "executor_id": executor,
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        "use_listen_notify": False,
        # What polls it holds up the end by as much.
        "notification_listener_polling_interval_sec": 0.1,
    }
    DBOS(config=config)
    logger = logging.getLogger("dbos")
    logger.handlers.clear()
    logger.propagate = True
    logger.addFilter(_is_news)
    DBOS.launch()


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of DBOS says what its reader has not asked for."""
    return not record.getMessage().startswith("Asyncio task cancelled")


async def _enqueue(job: Job, priority: int) -> None:
    """Queues a job unless an attempt at it is queued or runs, here or elsewhere."""
    options = SetEnqueueOptions(deduplication_id=job.resource, priority=priority)
    with SetWorkflowID(f"{job.resource}@{new_id()}"), options:
        try:
            kind = job.kind.value
            await DBOS.enqueue_workflow_async(kind, _attempt, kind, job.resource)
            reached(CrashPoint.JOB_QUEUED)
        except error.DBOSQueueDeduplicatedError:
            _LOG.debug("%s is queued or runs", job.resource)


async def _rows(prefix: str | None = None) -> list[WorkflowStatus]:
    """What is queued or runs, on any executor."""
    return await DBOS.list_workflows_async(
        status=_LIVE, workflow_id_prefix=prefix, name="edgeconv.job", load_output=False
    )


def _job_of(row: WorkflowStatus) -> Job:
    assert row.input is not None
    kind, resource = row.input["args"]
    return Job(JobKind(kind), resource)


async def _interrupted(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


async def _tidy_forever() -> None:
    """Forgets attempts that have ended: what came of them stands in the store."""
    while True:
        try:
            before = (datetime.now(UTC) - _KEPT).isoformat()
            while ended := await DBOS.list_workflows_async(
                status=_ENDED, completed_before=before, limit=_TIDY_AT_ONCE,
                load_input=False, load_output=False,
            ):  # fmt: skip
                await DBOS.delete_workflows_async([row.workflow_id for row in ended])
        except Exception:
            # The next round may do better.
            _LOG.exception("ended attempts could not be forgotten")
        await asyncio.sleep(_TIDY_S)
