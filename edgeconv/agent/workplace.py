"""What is done under one lease: fetch, measure, upload, clean up."""

from __future__ import annotations

import asyncio
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from edgeconv.agent.cache import ArtifactCache
from edgeconv.agent.drivers.driver import Driver, Job
from edgeconv.agent.link import Link
from edgeconv.agent.work import AssignedFile, Assignment, Lease, Result, ResultFiles
from edgeconv.base.bundle import check_file_name
from edgeconv.base.errors import EdgeconvError, Reason

ARTIFACT = "artifact"
SAMPLES = "samples"
MAX_RESULT_BYTES = 256 * 1024 * 1024


class Workplace:
    """The folders and devices that leases are worked on with.

    Args:
        folder: Of its own; emptied at once, since no lease outlives the process.
        drivers: By the names of their devices.
        say: Told a sentence that the agent's operator should read.
    """

    def __init__(
        self,
        folder: Path,
        cache: ArtifactCache,
        link: Link,
        drivers: Mapping[str, Driver],
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._cache = cache
        self._link = link
        self._drivers = drivers
        self._say = say
        self._fetching = asyncio.Lock()
        self._devices: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    async def fetch(self, assignment: Assignment) -> None:
        """Brings the files of an assignment into its folder.

        Raises:
            EdgeconvError: LEASE_LOST, SERVER_UNREACHABLE, DIGEST_MISMATCH; FIELD_INVALID
                for a role or file name that is not known.
        """
        for file in assignment.files:
            if file.role not in (ARTIFACT, SAMPLES):
                raise EdgeconvError(
                    Reason.FIELD_INVALID,
                    f"This agent does not know files of role {file.role!r}.",
                    fix="Use the same version of edgeconv here and on the server.",
                    role=file.role,
                )
            target = self._path(assignment.lease, file.role) / check_file_name(file.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            async with self._fetching:
                await self._bring(assignment.lease, file, target)

    async def measure(
        self, assignment: Assignment, report: Callable[[float, str], None]
    ) -> ResultFiles:
        """Measures on the assignment's device, once that is free.

        Raises:
            EdgeconvError: what failed; `bench.failure.owner_of` tells whose fault it is.
        """
        if (driver := self._drivers.get(assignment.device)) is None:
            raise EdgeconvError(
                Reason.DEVICE_FAILED,
                f"This agent has no {assignment.device!r}.",
                device=assignment.device,
            )
        job = self._job(assignment)
        # A cancelled measurement holds its device until nothing of it runs any more.
        async with self._devices[assignment.device]:
            try:
                await driver.prepare(job)
                return await driver.measure(job, report)
            finally:
                await driver.release(job)

    async def upload(self, assignment: Assignment, files: ResultFiles) -> Result:
        """Sends a result's files.

        Raises:
            EdgeconvError: LEASE_LOST, SERVER_UNREACHABLE.
        """
        record = await self._link.upload(assignment.lease, "record", files.record)
        if files.outputs is None:
            return Result(record)
        size = files.outputs.stat().st_size
        if size > MAX_RESULT_BYTES:
            self._say(
                f"The outputs of {assignment.title or assignment.lease.benchmark} have {size}"
                f" bytes and stay here: {MAX_RESULT_BYTES} can be sent. The server does not"
                " check this device's numbers."
            )
            return Result(record)
        return Result(record, await self._link.upload(assignment.lease, "outputs", files.outputs))

    async def clear(self, lease: Lease) -> None:
        """Removes a lease's files."""
        await asyncio.to_thread(shutil.rmtree, self._path(lease, ""), ignore_errors=True)

    async def _bring(self, lease: Lease, file: AssignedFile, target: Path) -> None:
        if await asyncio.to_thread(self._cache.copy_to, file.digest, target):
            return
        await self._link.fetch(lease, file, self._cache.partial(file.digest))
        await asyncio.to_thread(self._cache.admit, file.digest)
        if not await asyncio.to_thread(self._cache.copy_to, file.digest, target):
            raise EdgeconvError(
                Reason.BLOB_DAMAGED,
                f"The cache of this agent damaged {file.name!r}.",
                fix="Look after the agent's disk.",
                file=file.name,
            )

    def _job(self, assignment: Assignment) -> Job:
        scratch = self._path(assignment.lease, "scratch")
        scratch.mkdir(parents=True, exist_ok=True)
        samples = [file.name for file in assignment.files if file.role == SAMPLES]
        return Job(
            folder=self._path(assignment.lease, ARTIFACT),
            file=main_file(assignment),
            format=assignment.format,
            samples=self._path(assignment.lease, SAMPLES) / samples[0] if samples else None,
            scratch=scratch,
            effort=assignment.effort,
            threads=assignment.threads,
            spinning=assignment.spinning,
        )

    def _path(self, lease: Lease, role: str) -> Path:
        return self._folder / f"{lease.benchmark.rpartition('/')[2]}-{lease.token}" / role


def main_file(assignment: Assignment) -> str:
    """The file of an artifact that the runtime is given: the one with the format's suffix.

    Raises:
        EdgeconvError: FIELD_INVALID when there is not exactly one.
    """
    suffix = f".{assignment.format}"
    names = [
        file.name
        for file in assignment.files
        if file.role == ARTIFACT and file.name.endswith(suffix)
    ]
    if len(names) != 1:
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"The assignment has {len(names)} files named *{suffix}, and one is needed.",
            names=", ".join(names),
        )
    return names[0]
