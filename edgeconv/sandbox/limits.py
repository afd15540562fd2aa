"""The limits of a child."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

GIB = 1024**3
MOST_THREADS = 256 + 16 * (os.cpu_count() or 1)
"""Each of the libraries makes as many as there are processors, and some more than once."""
_CPU_GRACE_S = 5
_NAMES = {
    resource.RLIMIT_AS: "memory",
    resource.RLIMIT_FSIZE: "size of files",
    resource.RLIMIT_NOFILE: "open files",
    resource.RLIMIT_CORE: "core dumps",
    resource.RLIMIT_CPU: "processor time",
}


@dataclass(frozen=True)
class Limits:
    """What a child may use; the kernel enforces it, and its parent from `disk_bytes` on.

    Attributes:
        address_space_bytes: Virtual memory, mapped libraries counted.
        file_bytes: Largest file it may write.
        open_files: Descriptors.
        cpu_s: Processor seconds over all threads, at least 1; None is no limit.
        disk_bytes: All that lies in its folder, by the blocks that it takes.
        files: Files, folders and links in its folder.
        depth: Folders within each other; the parent walks them by open descriptors.
        threads: Of the process.
    """

    address_space_bytes: int = 16 * GIB
    file_bytes: int = 8 * GIB
    open_files: int = 1024
    cpu_s: int | None = None
    disk_bytes: int = 32 * GIB
    files: int = 20_000
    depth: int = 64
    threads: int = MOST_THREADS

    def to_json(self) -> dict[str, int]:
        """Resource number → value, as `apply` takes it."""
        values = {
            resource.RLIMIT_AS: self.address_space_bytes,
            resource.RLIMIT_FSIZE: self.file_bytes,
            resource.RLIMIT_NOFILE: self.open_files,
            resource.RLIMIT_CORE: 0,
        }
        if self.cpu_s is not None:
            values[resource.RLIMIT_CPU] = self.cpu_s
        return {str(which): value for which, value in values.items()}


def apply(values: dict[str, int]) -> str:
    """Sets the limits of this process; never above what it has already.

    Returns:
        Those that can't be set, with the reasons; empty when all stand.
    """
    missing = []
    for which, value in values.items():
        number = int(which)
        _, hard = resource.getrlimit(number)
        cap = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(number, (cap, _hard_limit(number, cap, hard)))
        except (OSError, ValueError) as error:
            missing.append(f"{_NAMES.get(number, number)}: {error}")
    return ", ".join(missing)


def _hard_limit(number: int, cap: int, hard: int) -> int:
    """The cap itself, but for processor time.

    The kernel sends SIGXCPU at the soft limit and SIGKILL at the hard one; were they
    equal, a process that needs too much could not be told from one that was killed.
    """
    if number != resource.RLIMIT_CPU:
        return cap
    later = cap + _CPU_GRACE_S
    return later if hard == resource.RLIM_INFINITY else min(later, hard)
