"""Time as a parameter."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where code takes the time from; `testing` has one that is moved by hand."""

    def now_ns(self) -> int:
        """Wall-clock time in nanoseconds since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """A time that never goes back, in nanoseconds from an arbitrary start."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()
