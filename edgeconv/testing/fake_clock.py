"""A clock that is moved by hand."""

from __future__ import annotations


class FakeClock:
    """Satisfies `edgeconv.base.clock.Clock`; time stands still until `advance`."""

    def __init__(self, *, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._monotonic_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def advance(self, duration_ns: int) -> None:
        """Moves both times forward.

        Raises:
            ValueError: a negative duration; monotonic time never goes back.
        """
        if duration_ns < 0:
            raise ValueError(f"time can't go back by {-duration_ns} ns")
        self._now_ns += duration_ns
        self._monotonic_ns += duration_ns

    def set_wall_clock(self, now_ns: int) -> None:
        """Sets the wall clock only, in any direction, as an operator or NTP does."""
        self._now_ns = now_ns
