"""The machine that the agent itself runs on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from edgeconv.agent.drivers.capabilities import read_capabilities
from edgeconv.agent.drivers.driver import Job, Report
from edgeconv.agent.work import ResultFiles
from edgeconv.bench import record
from edgeconv.bench.measure import measure
from edgeconv.bench.request import MeasureRequest
from edgeconv.catalog.capabilities import Capabilities
from edgeconv.runtimes.catalogue import runtime_by_format


class LocalDriver:
    """Measures here, in fresh children under the machine's lock.

    Args:
        name: "devices/{device}".
        lock_folder: Another place for the lock than the machine's own; for tests.
    """

    def __init__(self, name: str, *, lock_folder: Path | None = None) -> None:
        self._name = name
        self._lock_folder = lock_folder

    @property
    def name(self) -> str:
        return self._name

    async def describe(self) -> Capabilities:
        return await asyncio.to_thread(read_capabilities)

    async def prepare(self, job: Job) -> None:
        runtime_by_format(job.format).require()

    async def measure(self, job: Job, report: Report) -> ResultFiles:
        request = MeasureRequest(
            runtime=runtime_by_format(job.format).name,
            effort=job.effort,
            threads=job.threads,
            spinning=job.spinning,
        )
        measured = await measure(
            job.folder,
            job.file,
            request,
            samples=job.samples,
            scratch=job.scratch,
            report=report,
            lock_folder=self._lock_folder,
        )
        path = job.scratch / "record.json"
        await asyncio.to_thread(lambda: path.write_bytes(record.encode(measured.record)))
        return ResultFiles(path, measured.outputs)

    async def release(self, job: Job) -> None:
        """The job's files lie in its own folders, which the agent removes."""
