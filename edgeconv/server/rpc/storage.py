"""StorageService: what the server keeps on its disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from edgeconv.server.retention.blob_check import Checked, check_blobs
from edgeconv.server.retention.collector import Outcome
from edgeconv.server.rpc.fields import refuse
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.v1 import storage_pb2, storage_pb2_grpc

R = TypeVar("R")

_TELL_EVERY_S = 0.5
_MOST_HOLDERS = 20
_MOST_DAMAGED = 1000


class StorageService(storage_pb2_grpc.StorageServiceServicer):
    """As the wire says."""

    def __init__(self, tools: ServiceTools) -> None:
        self._tools = tools

    async def CollectGarbage(
        self, request: storage_pb2.CollectGarbageRequest, context: Any
    ) -> AsyncIterator[storage_pb2.CollectGarbageResponse]:
        """Removes what nobody needs."""
        older_than = request.older_than.ToNanoseconds() if request.HasField("older_than") else None
        cap = request.cap_bytes if request.HasField("cap_bytes") else None
        for field, value in (("older_than", older_than), ("cap_bytes", cap)):
            if value is not None and value < 0:
                raise refuse(field, "can't be negative")

        async def work(tell: Callable[[int, int], None]) -> Outcome:
            return await self._tools.collector.collect(
                older_than_ns=older_than, cap_bytes=cap, dry_run=request.dry_run, tell=tell
            )

        async for progress, outcome in _told(work):
            if outcome is None:
                yield storage_pb2.CollectGarbageResponse(progress=progress)
            else:
                free = await asyncio.to_thread(self._tools.blobs.free_bytes)
                message = collected_message(outcome, free or 0)
                yield storage_pb2.CollectGarbageResponse(collected=message)

    async def CheckBlobs(
        self, request: storage_pb2.CheckBlobsRequest, context: Any
    ) -> AsyncIterator[storage_pb2.CheckBlobsResponse]:
        """Reads every blob."""

        async def work(tell: Callable[[int, int], None]) -> Checked:
            return await check_blobs(self._tools.store, self._tools.blobs, tell)

        async for progress, checked in _told(work):
            if checked is None:
                yield storage_pb2.CheckBlobsResponse(progress=progress)
            else:
                yield storage_pb2.CheckBlobsResponse(checked=checked_message(checked))


async def _told(
    work: Callable[[Callable[[int, int], None]], Awaitable[R]],
) -> AsyncIterator[tuple[storage_pb2.StorageProgress, R | None]]:
    """How far the work is, each half second, and at last its result.

    A caller who goes away ends it between two of its steps.
    """
    now = storage_pb2.StorageProgress()

    def tell(done: int, total: int) -> None:
        now.done, now.total = done, total

    task = asyncio.ensure_future(work(tell))
    try:
        while not (await asyncio.wait([task], timeout=_TELL_EVERY_S))[0]:
            yield now, None
        yield now, task.result()
    finally:
        task.cancel()


def collected_message(outcome: Outcome, free_bytes: int) -> storage_pb2.Collected:
    """What was removed, for the wire."""
    return storage_pb2.Collected(
        removed=[
            storage_pb2.RemovedKind(
                kind=each.kind.value, reason=each.why.value, count=each.count,
                size_bytes=each.size_bytes,
            )
            for each in outcome.removed
        ],
        kept_bytes=outcome.kept_bytes,
        waiting_bytes=outcome.waiting_bytes,
        held_bytes={kind.value: size for kind, size in outcome.held_bytes.items()},
        over_cap_bytes=outcome.over_cap_bytes,
        leftovers=outcome.leftovers,
        free_bytes=free_bytes,
    )  # fmt: skip


def checked_message(checked: Checked) -> storage_pb2.CheckedBlobs:
    """What a check found, for the wire."""
    return storage_pb2.CheckedBlobs(
        blobs=checked.blobs,
        size_bytes=checked.size_bytes,
        damaged=[
            storage_pb2.DamagedBlob(
                digest=each.digest, problem=each.problem, holders=each.holders[:_MOST_HOLDERS]
            )
            for each in checked.damaged[:_MOST_DAMAGED]
        ],
    )
