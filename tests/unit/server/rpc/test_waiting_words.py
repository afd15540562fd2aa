"""One look at the queues serves all who watch."""

from __future__ import annotations

import asyncio

import pytest

from edgeconv.server.rpc.waiting_words import Shared


class Source:
    """Counts how often it is read; each reading waits until it is let go."""

    def __init__(self) -> None:
        self.reads = 0
        self.now_s = 50.0
        self.faults: list[Exception] = []
        self.gate = asyncio.Event()

    async def read(self) -> int:
        self.reads += 1
        count = self.reads
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop()
        return count

    def shared(self) -> Shared[int]:
        return Shared(self.read, 1.0, lambda: self.now_s)


def test_all_who_ask_at_once_and_for_a_second_share_a_reading() -> None:
    async def play() -> None:
        source = Source()
        shared = source.shared()
        asked = [asyncio.create_task(shared.get()) for _ in range(100)]
        await asyncio.sleep(0)
        source.gate.set()
        assert set(await asyncio.gather(*asked)) == {1}
        source.now_s += 0.9
        assert await shared.get() == 1
        source.now_s += 0.2
        assert await shared.get() == 2
        assert source.reads == 2

    asyncio.run(play())


def test_one_who_goes_away_takes_it_from_no_other() -> None:
    async def play() -> None:
        source = Source()
        shared = source.shared()
        first, second = (asyncio.create_task(shared.get()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        source.gate.set()
        assert await second == 1

    asyncio.run(play())


def test_a_failed_reading_is_told_and_not_kept() -> None:
    async def play() -> None:
        source = Source()
        source.gate.set()
        source.faults = [ValueError("away")]
        shared = source.shared()
        with pytest.raises(ValueError, match="away"):
            await shared.get()
        assert await shared.get() == 2

    asyncio.run(play())
