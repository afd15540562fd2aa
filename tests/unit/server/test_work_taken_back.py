"""A caller that is gone leaves no work behind that nobody waits for."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from edgeconv.base.clock import SystemClock
from edgeconv.base.digests import digest_bytes
from edgeconv.server.blobs.blobs import MAX_PART_BYTES, Blobs
from edgeconv.server.records import FileRecord
from edgeconv.server.store.connections import TimeLimits
from edgeconv.server.store.database import Database, Transaction


def test_a_transaction_that_has_not_begun_is_taken_back(tmp_path: Path) -> None:
    began, go_on = threading.Event(), threading.Event()
    did: list[str] = []
    touched: list[str] = []

    def first(tx: Transaction) -> None:
        began.set()
        assert go_on.wait(20)
        tx.changed.add("first")
        did.append("first")

    async def main() -> None:
        def touch(topics: Iterable[str]) -> None:
            touched.extend(topics)

        database = Database(f"sqlite:///{tmp_path / 'db'}", SystemClock(), touch, TimeLimits())
        running = asyncio.create_task(database.run(first))
        await asyncio.to_thread(began.wait, 20)
        waiting = asyncio.create_task(database.run(lambda _: did.append("second")))
        await asyncio.sleep(0)
        for task in (running, waiting):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        go_on.set()
        await database.run(lambda _: did.append("third"))
        await database.close()

    asyncio.run(main())
    # What had begun is done, and told to who waits for it.
    assert did == ["first", "third"]
    assert touched == ["first"]


class CountedBlobs(Blobs):
    """Counts the parts that are opened."""

    opened = 0
    begun = threading.Event()
    go_on = threading.Event()

    def _read_blocking(self, file: FileRecord) -> Iterable[bytes]:  # type: ignore[override]
        for chunk in super()._read_blocking(file):
            self.opened += 1
            self.begun.set()
            assert self.go_on.wait(20)
            yield chunk


def test_the_digest_of_a_large_file_is_not_gone_on_with(tmp_path: Path) -> None:
    blobs = CountedBlobs.local(tmp_path)
    assert isinstance(blobs, CountedBlobs)
    path = tmp_path / "large"
    path.write_bytes(os.urandom(MAX_PART_BYTES + 5))
    with path.open("rb") as stream:
        file = blobs.put_file(stream, "large", max_bytes=1 << 30)

    async def main() -> None:
        digesting = asyncio.create_task(blobs.digest_of(file))
        await asyncio.to_thread(blobs.begun.wait, 20)
        digesting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await digesting
        blobs.go_on.set()
        # The threads of this loop have ended then.
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(main())
    assert blobs.opened == 1
    assert asyncio.run(blobs.digest_of(file)) == digest_bytes(path.read_bytes())
