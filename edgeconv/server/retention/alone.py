"""Works on the storage of a state folder that no server uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import locked
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.blobs.ownership import claim_folder
from edgeconv.server.retention.blob_check import check_blobs
from edgeconv.server.retention.collector import Collector, Tell
from edgeconv.server.rpc.storage import checked_message, collected_message
from edgeconv.server.store.store import Store
from edgeconv.server.store.urls import database_url
from edgeconv.v1 import storage_pb2


async def collect_alone(
    state: Path,
    blobs: Path | None,
    *,
    older_than_ns: int | None,
    cap_bytes: int | None,
    dry_run: bool,
    tell: Tell,
) -> storage_pb2.Collected:
    """As the call of a server; nothing is under way, so there is no grace but for uploads.

    Args:
        blobs: Their folder, where it is not the one in the state folder.

    Raises:
        EdgeconvError: STATE_LOCKED, STATE_UNWRITABLE; NOT_FOUND where there is no database;
            BLOBS_ELSEWHERE where the folder of blobs is not that database's.
    """
    async with _opened(state, blobs) as collector:
        outcome = await collector.collect(
            older_than_ns=older_than_ns, cap_bytes=cap_bytes, dry_run=dry_run, tell=tell
        )
        free = await asyncio.to_thread(collector.blobs.free_bytes)
        return collected_message(outcome, free or 0)


async def check_alone(
    state: Path, blobs: Path | None, *, tell: Tell = lambda done, total: None
) -> storage_pb2.CheckedBlobs:
    """As the call of a server; arguments and errors are those of `collect_alone`."""
    async with _opened(state, blobs) as collector:
        return checked_message(await check_blobs(collector.store, collector.blobs, tell))


@asynccontextmanager
async def _opened(state: Path, blobs_folder: Path | None) -> AsyncIterator[Collector]:
    with locked(state) as folder:
        if not folder.database.exists():
            raise EdgeconvError(
                Reason.NOT_FOUND,
                f"There is no database in {str(state)!r}.",
                fix="Name another state folder with --state; what lies in a shared database is"
                " collected by its servers.",
                state=state,
            )
        store = await Store.open(database_url("", folder.database), touch=lambda topics: None)
        try:
            place = blobs_folder or folder.blobs
            mark = await claim_folder(place, store.installation)
            blobs = Blobs.local(place, store.retention.toucher(), mark=mark)
            yield Collector(store, blobs, folder.scratch, grace_ns=0)
        finally:
            await store.close()
