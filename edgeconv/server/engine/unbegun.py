"""Attempts that were taken off a queue for this process and that it does not have."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable


class Unbegun:
    """Tells those that are about to begin from those whose taking was lost on the way.

    An attempt is dispatched a moment after it was taken. One that nobody has after a while was
    taken by a commit whose answer never came, or its dispatch failed.

    Args:
        begin_s: How long an attempt may take to begin.
        now_s: A clock that only goes forward.
    """

    def __init__(self, begin_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._begin_s = begin_s
        self._now_s = now_s
        self._seen_s: dict[str, float] = {}

    def see(self, attempts: Iterable[str]) -> None:
        """Takes note of all that have not begun now; whoever is not among them is forgotten."""
        now_s = self._now_s()
        self._seen_s = {each: self._seen_s.get(each, now_s) for each in attempts}

    def __contains__(self, attempt: object) -> bool:
        """Whether it was lost: it was seen for the whole of that time."""
        seen_s = self._seen_s.get(str(attempt))
        return seen_s is not None and self._now_s() - seen_s >= self._begin_s
