"""How many jobs of a kind run side by side in this process, and which one is next."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping

from edgeconv.server.engine.engine import JobKind


class Turn:
    """A place that was asked for: waited for, held, or left."""

    def __init__(self, places: Places, kind: JobKind) -> None:
        self._places = places
        self._kind = kind
        self._come: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = False

    @property
    def waits(self) -> bool:
        """Whether it has not come yet."""
        return not self._come.done()

    async def come(self) -> None:
        """Returns when the place is there."""
        await self._come

    def leave(self) -> None:
        """Gives the place back, or stops waiting for it; the second time without effect."""
        if self._left:
            return
        self._left = True
        if not self._come.cancel() and not self._come.cancelled():
            self._places.give_back(self._kind)

    def grant(self) -> bool:
        """Gives it the place; False when it does not wait any more."""
        if self.waits:
            self._come.set_result(None)
            return True
        return False


class Places:
    """Gives free places to those who asked, the lowest rank first.

    Args:
        limits: How many places there are of a kind.
    """

    def __init__(self, limits: Mapping[JobKind, int]) -> None:
        self._free = dict(limits)
        self._asked: dict[JobKind, list[tuple[str, Turn]]] = {kind: [] for kind in limits}

    def ask(self, kind: JobKind, rank: str) -> Turn:
        """Asks for a place; its rank is told from all others, and "a" comes before "b"."""
        turn = Turn(self, kind)
        if self._free[kind]:
            self._free[kind] -= 1
            turn.grant()
        else:
            heapq.heappush(self._asked[kind], (rank, turn))
        return turn

    def give_back(self, kind: JobKind) -> None:
        """Lets the next one have a place."""
        asked = self._asked[kind]
        while asked:
            _, turn = heapq.heappop(asked)
            if turn.grant():
                return
        self._free[kind] += 1
