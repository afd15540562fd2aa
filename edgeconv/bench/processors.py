"""The processors that this process may use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_SYSTEM = Path("/sys/devices/system/cpu")


def usable_processors() -> list[int]:
    """Numbers of the processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def count_cores(siblings: Mapping[int, str]) -> int:
    """Physical cores among processors; at least 1.

    Args:
        siblings: Processor → the kernel's list of those that share its core, "0,4" or
            "0-1"; an empty one counts as a core of its own.
    """
    return max(len({text or f"alone {number}" for number, text in siblings.items()}), 1)


def physical_cores() -> int:
    """Physical cores that this process may run on."""
    siblings = {}
    for number in usable_processors():
        path = _SYSTEM / f"cpu{number}" / "topology" / "thread_siblings_list"
        try:
            siblings[number] = path.read_text().strip()
        except OSError:
            siblings[number] = ""
    return count_cores(siblings)
