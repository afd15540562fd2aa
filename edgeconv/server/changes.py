"""Wakes whoever waits for a change, within this process.

What changed stands in the store; a topic (a resource name, or "queue") only says: look
again. A waiter looks again after a while anyway, since another replica may have written.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

QUEUE = "queue"
"""Touched when a benchmark or a device may have become free to be matched."""


class Changes:
    """Topics and who waits for them; for one event loop."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    def touch(self, topics: Iterable[str]) -> None:
        """Wakes those who watch any of the topics."""
        for topic in topics:
            for event in self._waiting.get(topic, ()):
                event.set()

    @contextmanager
    def watching(self, *topics: str) -> Iterator[Watch]:
        """A watch on topics. Clear it, look at the store, then wait: nothing is missed."""
        event = asyncio.Event()
        for topic in topics:
            self._waiting[topic].add(event)
        try:
            yield Watch(event)
        finally:
            for topic in topics:
                self._waiting[topic].discard(event)
                if not self._waiting[topic]:
                    del self._waiting[topic]


class Watch:
    """Someone's wait for topics."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def clear(self) -> None:
        """From here on changes count."""
        self._event.clear()

    async def wait(self, timeout_s: float) -> bool:
        """Waits for a change; False when there was none in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        return self._event.is_set()
