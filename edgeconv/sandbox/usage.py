"""What a child has taken of the machine, seen from outside. All of it blocks.

Nothing that it says is believed, and no link of it is followed: folders are opened by
descriptors. A look ends as soon as a limit is passed, so it costs no more than the limits allow.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.base.quantities import format_bytes
from edgeconv.sandbox.limits import Limits

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 512


@dataclass(frozen=True)
class Usage:
    """What a child has taken; `depth` is that of its deepest folder."""

    disk_bytes: int = 0
    files: int = 0
    depth: int = 0
    threads: int = 0

    def beyond(self, limits: Limits) -> tuple[str, str] | None:
        """The limit that is passed, by its name and in words; None where there is none."""
        if self.disk_bytes > limits.disk_bytes:
            return "disk", f"more than {format_bytes(limits.disk_bytes)} of disk"
        if self.files > limits.files:
            return "files", f"more than {limits.files:,} files"
        if self.depth > limits.depth:
            return "depth", f"more than {limits.depth} folders within each other"
        if self.threads > limits.threads:
            return "threads", f"more than {limits.threads} threads"
        return None


def measure(pid: int, folder: Path, limits: Limits) -> Usage:
    """What a process and its folder hold; at least the part that goes beyond a limit.

    Files that have no name any more count while the process holds them open, memory that is
    made as a file (memfd) with them.
    """
    tally = _Tally(limits, threads=count_threads(pid))
    for status in _nameless_files(pid):
        tally.add(status)
    try:
        top = os.open(folder, _FOLDER)
    except (FileNotFoundError, NotADirectoryError):
        # Removed, with its child.
        return tally.usage
    try:
        _walk(top, tally, 1)
    finally:
        os.close(top)
    return tally.usage


def count_threads(pid: int) -> int:
    """Threads of a process; 0 when it is gone."""
    try:
        # Two names of the folder itself, and one for each folder in it.
        return max(0, os.stat(f"/proc/{pid}/task").st_nlink - 2)  # noqa: PTH116
    except OSError:
        return 0


@dataclass
class _Tally:
    limits: Limits
    threads: int
    disk_bytes: int = 0
    files: int = 0
    depth: int = 0
    _counted: set[tuple[int, int]] = field(default_factory=set)

    @property
    def usage(self) -> Usage:
        return Usage(self.disk_bytes, self.files, self.depth, self.threads)

    @property
    def is_beyond(self) -> bool:
        return self.usage.beyond(self.limits) is not None

    def add(self, status: os.stat_result) -> None:
        """Counts a file once, however many names or descriptors it has."""
        self.files += 1
        place = status.st_dev, status.st_ino
        if place not in self._counted:
            self._counted.add(place)
            self.disk_bytes += status.st_blocks * _BLOCK


def _walk(folder: int, tally: _Tally, depth: int) -> None:
    tally.depth = max(tally.depth, depth)
    if tally.is_beyond:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            tally.add(status)
            if tally.is_beyond:
                return
            if stat.S_ISDIR(status.st_mode):
                _walk_in(folder, entry.name, tally, depth + 1)


def _walk_in(parent: int, name: str, tally: _Tally, depth: int) -> None:
    try:
        inner = _opened(parent, name)
    except OSError:
        # Removed meanwhile, or something else by now, which the next look counts.
        return
    try:
        _walk(inner, tally, depth)
    finally:
        os.close(inner)


def _opened(parent: int, name: str) -> int:
    """A folder of the child's, also one that was made so that nobody can list it."""
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except PermissionError:
        place = os.open(name, _PLACE | os.O_DIRECTORY, dir_fd=parent)
        try:
            # By this way a mode is changed of what was opened, and of nothing else.
            os.chmod(f"/proc/self/fd/{place}", 0o700)  # noqa: PTH101
        finally:
            os.close(place)
        return os.open(name, _FOLDER, dir_fd=parent)


def _nameless_files(pid: int) -> Iterator[os.stat_result]:
    """Files that a process holds open and that have no name any more.

    Its threads share their descriptors, but one that has ended shows none.
    """
    for place in _tasks(pid):
        names = _listed(f"{place}/fd")
        for name in names:
            try:
                status = os.stat(f"{place}/fd/{name}")  # noqa: PTH116
            except OSError:
                continue
            if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
                yield status
        if names:
            return


def _tasks(pid: int) -> Iterator[str]:
    return (f"/proc/{pid}/task/{thread}" for thread in _listed(f"/proc/{pid}/task"))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208
    except OSError:
        return []
