"""How much of the machine other processes used while a benchmark ran."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_QUIET = 0.1
"""Processors that a machine's own housekeeping may take."""


@dataclass(frozen=True)
class ProcessorTime:
    """Seconds so far: of all processors together, of this process and of its ended children."""

    at_s: float
    busy_s: float
    own_s: float

    @classmethod
    def now(cls) -> Self:
        """From /proc/stat (proc_stat(5): all but idle and iowait, guests counted once)."""
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        user, nice, system, _idle, _iowait, *interrupts = map(int, first)
        ticks = user + nice + system + sum(interrupts)
        own = os.times()
        return cls(
            at_s=time.monotonic(),
            busy_s=ticks / os.sysconf("SC_CLK_TCK"),
            own_s=own.user + own.system + own.children_user + own.children_system,
        )


def other_processors(before: ProcessorTime, after: ProcessorTime) -> float:
    """Processors that others kept busy between two looks, on average.

    Ask after all children have ended: one that runs still counts as others.
    """
    others_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return max(others_s / (after.at_s - before.at_s), 0.0)


def in_words(others: float) -> str:
    """A sentence to print beside the figures."""
    share = f"Other processes kept {others:.2f} of {os.cpu_count()} processors busy meanwhile"
    return (
        f"{share}." if others <= _QUIET else f"{share}: the times are not those of a quiet machine."
    )
