"""Builds the walls around this process, as many as the kernel has.

To be called before any thread is started and before anything foreign is read: Landlock binds
the calling thread and what that one starts.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from edgeconv.sandbox import landlock, seccomp
from edgeconv.sandbox.walls import LANDLOCK, SECCOMP, Room, Walls

_PR_SET_NO_NEW_PRIVS = 38
_OFF = "switched off"

_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache",
    "/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom", "/dev/random", "/dev/zero",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu", "/sys/devices/system/node",
)  # fmt: skip
"""Of the system: libraries, and what tells of processors and memory."""

_OWN = Path("/proc/self")
_RESET_HIGH_WATER_MARK = _OWN / "clear_refs"


def enclose(room: Room, folder: Path) -> Walls:
    """Builds the walls; what can't be built is named in the result, with the reason.

    Args:
        folder: The child's own, which it may change.
    """
    if why := _give_up_privileges():
        return Walls(reasons={LANDLOCK: why, SECCOMP: why})
    reasons: dict[str, str] = {}
    version = 0

    def restrict() -> None:
        nonlocal version
        if others := len(list(Path("/proc/self/task").iterdir())) - 1:
            raise OSError(errno.EBUSY, f"{others} other threads run already")
        version = landlock.restrict(_rules(room, folder), room.landlock)

    if room.landlock:
        _try(LANDLOCK, restrict, reasons)
    else:
        reasons[LANDLOCK] = _OFF
    if room.seccomp:
        _try(SECCOMP, seccomp.install, reasons)
    else:
        reasons[SECCOMP] = _OFF
    return Walls(version, SECCOMP not in reasons, reasons)


def _try(wall: str, build: Callable[[], None], reasons: dict[str, str]) -> None:
    try:
        build()
    except OSError as error:
        reasons[wall] = error.strerror or str(error)


def _give_up_privileges() -> str:
    """Nothing that is executed gains rights; the kernel asks for this before any wall."""
    library = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    done = library.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)
    return "" if done == 0 else os.strerror(ctypes.get_errno())


def _rules(room: Room, folder: Path) -> Iterator[tuple[Path, int]]:
    for path in (*_python(), *map(Path, _SYSTEM), *room.reads):
        yield path, landlock.READ
    for path in (folder, Path("/dev/null"), *room.writes):
        yield path, landlock.WRITE
    for path, rights in ((_OWN, landlock.READ), (_RESET_HIGH_WATER_MARK, landlock.WRITE)):
        _hold(path)
        yield path, rights


def _hold(path: Path) -> None:
    """Keeps a place of /proc open for ever.

    A rule is bound to the kernel's object of a file, and /proc makes new ones when it is short
    of memory, unless they are in use.
    """
    try:
        os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return


def _python() -> Iterator[Path]:
    """The interpreter's libraries, the installed packages and this one."""
    package = Path(__file__).resolve().parent.parent
    yield package
    root = package.parent
    if root.name in ("site-packages", "dist-packages"):
        yield root
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        yield Path(prefix, "lib")
        yield Path(prefix, "lib64")
        yield Path(prefix, "pyvenv.cfg")
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    for entry in sys.path:
        # A checkout is more than the package: it may hold anything of its owner's.
        if entry and Path(entry).resolve() != root:
            yield Path(entry)
