"""Which channels live and die together: a union-find over channel ids.

Id 0 stands for "fixed": a position that no pruning may remove. A channel that is joined
with it is locked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIXED = 0
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Lock:
    """Why channels can't be removed.

    Attributes:
        where: The user's name for the layer or operator.
        operator: Name of the operator that locks, such as "aten.cumsum".
        because: Half a sentence that goes on from "it …".
        channels: Number of channel classes that this lock was the first to hold.
    """

    where: str
    operator: str
    because: str
    channels: int


class Channels:
    """Hands out channel ids, joins them and locks them."""

    def __init__(self) -> None:
        self._parent = np.zeros(1, dtype=np.int64)
        self._used = 1
        self.joined = 0
        self.locks: list[Lock] = []

    def fresh(self, count: int) -> Ids:
        """`count` new ids."""
        while self._used + count > len(self._parent):
            old = len(self._parent)
            self._parent = np.resize(self._parent, max(2 * old, old + count))
            self._parent[old:] = np.arange(old, len(self._parent))
        made = np.arange(self._used, self._used + count, dtype=np.int64)
        self._used += count
        return made

    def roots(self, ids: Any) -> Ids:
        """The representative of each id's class, in the shape of `ids`; FIXED if locked."""
        found: Ids = self._parent[np.asarray(ids, dtype=np.int64)]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                return found
            found = above

    def join(self, left: Any, right: Any) -> int:
        """Joins ids position by position; returns how many classes became locked."""
        a = np.ravel(np.asarray(left, dtype=np.int64))
        b = np.ravel(np.asarray(right, dtype=np.int64))
        differ = a != b
        if not differ.any():
            return 0
        pairs = np.unique(np.stack([a[differ], b[differ]], axis=1), axis=0)
        locked = 0
        for one, other in pairs.tolist():
            top, low = self._find(one), self._find(other)
            if top == low:
                continue
            if low < top:
                top, low = low, top
            # The smallest id leads its class, so FIXED always leads.
            self._parent[low] = top
            self.joined += 1
            locked += top == FIXED
        return locked

    def lock(self, ids: Any, where: str, operator: str, because: str) -> None:
        """Holds channels for good, and remembers the reason if any was free until now."""
        free = np.unique(self.roots(ids))
        free = free[free != FIXED]
        if len(free):
            self._parent[free] = FIXED
            self.joined += len(free)
            self.locks.append(Lock(where, operator, because, len(free)))

    def _find(self, one: int) -> int:
        parent = self._parent
        while parent[one] != one:
            parent[one] = parent[parent[one]]
            one = int(parent[one])
        return one
