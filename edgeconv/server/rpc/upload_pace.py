"""Whether bytes come fast enough to hold a place that others wait for. Pure."""

from __future__ import annotations

from collections import deque


class Pace:
    """So many bytes are to come in any window of time, the first one included.

    Times are of the sender: seconds that bytes were waited for.

    Args:
        rate: Bytes a second.
        window_s: Over how long.
    """

    def __init__(self, rate: int, window_s: float) -> None:
        self._needed = rate * window_s
        self._window_s = window_s
        self._came: deque[tuple[float, int]] = deque()
        self._sum = 0

    def came(self, size: int, now_s: float) -> None:
        """Bytes came."""
        self._came.append((now_s, size))
        self._sum += size
        # What later ones make up for alone.
        while self._sum - self._came[0][1] >= self._needed:
            self._sum -= self._came.popleft()[1]

    @property
    def until_s(self) -> float:
        """When it is too slow if nothing more comes."""
        if self._sum < self._needed:
            return self._window_s
        # With the oldest the rest is enough, and without it not.
        return self._came[0][0] + self._window_s
