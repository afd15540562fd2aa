"""The machine-wide lock between measurements and conversions.

A measurement holds it alone; conversion steps share it. It is taken in the single-use
child: the kernel frees it when that process ends, however it ends, and no descriptor is
inherited by another.

Everyone passes a turnstile, the gate, to get to the lock, and whoever must wait for the
lock does so inside the gate. So a measurement that waits keeps new conversion steps
outside and gets its turn when those that run have ended (the no-starve readers and
writers of Downey, The Little Book of Semaphores, 4.2.3).
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

Report = Callable[[float, str], None]

WAITING = "preparing: waiting for conversions or another measurement to end"
WAITING_SHARED = "waiting for a measurement on this machine to end"
_LOCK = "edgeconv-measuring.lock"
_GATE = "edgeconv-measuring.gate"
_FOLDERS = (Path("/run/lock"), Path("/tmp"))


def machine_folder() -> Path:
    """Where the lock lies: the same folder for every user of a machine."""
    for folder in _FOLDERS:
        with suppress(OSError):
            if folder.stat().st_mode & stat.S_IWOTH:
                return folder
    return _FOLDERS[-1]


def lock_files(folder: Path | None = None) -> tuple[Path, Path]:
    """The files that a process opens for either lock; made when they are not there.

    For who starts a process that may not make them itself.

    Raises:
        OSError: as `shared_lock`.
    """
    place = folder or machine_folder()
    paths = place / _LOCK, place / _GATE
    for path in paths:
        os.close(_open(path))
    return paths


@dataclass(frozen=True)
class LockFiles:
    """The lock files as they were at some time, each by its device and number.

    A process behind Landlock may open these, and no others that get their names.
    """

    paths: tuple[Path, ...]
    numbers: tuple[tuple[int, int], ...]

    @classmethod
    def there(cls) -> Self:
        """Those of now; made when they are not there.

        Raises:
            OSError: as `shared_lock`.
        """
        paths = lock_files()
        return cls(paths, tuple(map(_number, paths)))

    @property
    def are_still_there(self) -> bool:
        """Whether no one has removed or replaced one."""
        try:
            return tuple(map(_number, self.paths)) == self.numbers
        except OSError:
            return False


def _number(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


@contextmanager
def exclusive_lock(report: Report, folder: Path | None = None) -> Iterator[None]:
    """Holds the lock alone, for measuring.

    Args:
        report: Told (-1, words) when it has to wait.
        folder: Another place than the machine's own.

    Raises:
        OSError: the lock file can't be opened.
    """
    with _holding(fcntl.LOCK_EX, report, WAITING, folder or machine_folder()):
        yield


@contextmanager
def shared_lock(report: Report, folder: Path | None = None) -> Iterator[None]:
    """Holds the lock together with others, for work that would disturb a measurement.

    Never inside `exclusive_lock`: a lock is not changed into the other kind.

    Args:
        report: Told (-1, words) when it has to wait.
        folder: Another place than the machine's own.

    Raises:
        OSError: the lock file can't be opened.
    """
    with _holding(fcntl.LOCK_SH, report, WAITING_SHARED, folder or machine_folder()):
        yield


@contextmanager
def _holding(kind: int, report: Report, words: str, folder: Path) -> Iterator[None]:
    said = False

    def take(descriptor: int, kind: int) -> None:
        nonlocal said
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if not said:
                report(-1.0, words)
                said = True
            fcntl.flock(descriptor, kind)

    lock = _open(folder / _LOCK)
    try:
        gate = _open(folder / _GATE)
        try:
            take(gate, fcntl.LOCK_EX)
            take(lock, kind)
        finally:
            os.close(gate)
        yield
    finally:
        os.close(lock)


def _open(path: Path) -> int:
    """Opens a lock file that all users share; makes it when there is none.

    Never created over an existing one: in a sticky folder the kernel refuses O_CREAT on
    another user's file. Never unlinked: two processes could hold two files of one name.
    """
    for _ in range(3):
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with suppress(FileExistsError):
            flags = os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o666)
            os.fchmod(descriptor, 0o666)
            return descriptor
    raise FileNotFoundError(f"the lock file {path} comes and goes")
