"""The filter of system calls: a classic BPF program that the kernel runs before each call.

Interface: the kernel's Documentation/userspace-api/seccomp_filter.rst. What is not named in
`system_calls` is allowed up to the last call known there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from edgeconv.sandbox.system_calls import ABSENT, BY_ARGUMENT, DENIED, LAST_KNOWN

_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45
_AT_NUMBER, _AT_ARCHITECTURE, _AT_ARGUMENTS = 0, 4, 16

_CLONE_FILES, _CLONE_THREAD = 0x400, 0x10000
_CLOSE_RANGE_UNSHARE = 2
_O_ACCMODE, _O_TRUNC = 0o3, 0o1000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SCHED_CORE = 1, 4, 62
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_SETPIPE_SZ = 8, 10, 15, 1031
_TIOCSTI, _FIOSETOWN, _SIOCSPGRP = 0x5412, 0x8901, 0x8902
_FLAGS_OF_FILES = (0x40086602, 0x40046602, 0x401C5820)
"""FS_IOC_SETFLAGS, its form for 32 bits and FS_IOC_FSSETXATTR: "immutable" is such a flag."""

Instruction = tuple[int, int, int, int]


@dataclass(frozen=True)
class Architecture:
    """How an architecture is told in the filter: its AUDIT_ARCH_… and column in the tables."""

    audit: int
    column: int
    seccomp: int


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 0, 317),
    "aarch64": Architecture(0xC00000B7, 1, 277),
}


def install() -> None:
    """Puts the filter over all threads of this process, which must have no_new_privs.

    Raises:
        OSError: the kernel can't, or the filter is not written for this architecture.
    """
    machine = os.uname().machine
    architecture = ARCHITECTURES.get(machine)
    if architecture is None or struct.calcsize("P") != 8:
        raise OSError(errno.ENOSYS, f"no filter is written for {machine}")
    code = b"".join(struct.pack("=HBBI", *each) for each in program(architecture, os.getpid()))
    held = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
    library = ctypes.CDLL(None, use_errno=True)
    result = library.syscall(
        ctypes.c_long(architecture.seccomp),
        ctypes.c_long(_SET_MODE_FILTER),
        ctypes.c_long(_FLAG_TSYNC),
        ctypes.c_char_p(head),
    )
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if result > 0:
        raise OSError(errno.EBUSY, "another thread has a filter of its own")


def program(architecture: Architecture, pid: int) -> list[Instruction]:
    """The filter for a process: (code, jump if true, jump if false, operand) each."""
    return list(_instructions(architecture.audit, architecture.column, pid))


def _instructions(audit: int, column: int, pid: int) -> Iterator[Instruction]:
    yield _LOAD, 0, 0, _AT_ARCHITECTURE
    yield _IF_EQUAL, 1, 0, audit
    # Another architecture's numbers, such as those of 32-bit calls, mean other things.
    yield _RETURN, 0, 0, _KILL_PROCESS
    yield _LOAD, 0, 0, _AT_NUMBER
    yield from _when(_IF_AT_LEAST, LAST_KNOWN + 1, [_refuse(errno.ENOSYS)])
    for name, body in _bodies(pid).items():
        if (number := BY_ARGUMENT[name][column]) is not None:
            yield from _when(_IF_EQUAL, number, [*body, _allow()])
    for calls, answer in ((ABSENT, errno.ENOSYS), (DENIED, errno.EPERM)):
        for numbers in calls.values():
            if (number := numbers[column]) is not None:
                yield from _when(_IF_EQUAL, number, [_refuse(answer)])
    yield _allow()


def _bodies(pid: int) -> dict[str, list[Instruction]]:
    """What is refused of calls that depend on their arguments; the rest of each is allowed."""
    return {
        "clone": [
            _argument(0),
            *_unless(_IF_ANY_BIT, _CLONE_THREAD, [_refuse()]),
            # Its parent counts what the threads hold open, and looks at one of them only.
            *_unless(_IF_ANY_BIT, _CLONE_FILES, [_refuse()]),
        ],
        "close_range": [
            _argument(2),
            *_when(_IF_ANY_BIT, _CLOSE_RANGE_UNSHARE, [_refuse()]),
        ],
        "kill": _only(0, pid),
        "tgkill": _only(0, pid),
        "prlimit64": [*_null(2), *_only(0, 0, pid)],
        "sched_setaffinity": _only(0, 0, pid),
        # It dies with its parent, lets that one look at it, and shares no core by cookie.
        "prctl": _never(0, _PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SCHED_CORE),
        # A file's owner gets a signal of one's choice whenever it becomes readable.
        # What lies in a pipe is nobody's memory, and root may make one of 2 GiB.
        "fcntl": _never(1, _F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_SETPIPE_SZ),
        "ioctl": _never(1, _TIOCSTI, _FIOSETOWN, _SIOCSPGRP, *_FLAGS_OF_FILES),
        "open": _no_truncation_by_readers(1),
        "openat": _no_truncation_by_readers(2),
    }


def _only(place: int, *values: int) -> list[Instruction]:
    accepted = [each for value in values for each in _when(_IF_EQUAL, value, [_allow()])]
    return [_argument(place), *accepted, _refuse()]


def _null(place: int) -> list[Instruction]:
    """Refuses what is no null pointer, by both of its halves."""
    upper = (_LOAD, 0, 0, _AT_ARGUMENTS + 8 * place + 4)
    return [
        each
        for half in (_argument(place), upper)
        for each in (half, *_unless(_IF_EQUAL, 0, [_refuse()]))
    ]


def _never(place: int, *values: int) -> list[Instruction]:
    refused = [each for value in values for each in _when(_IF_EQUAL, value, [_refuse()])]
    return [_argument(place), *refused]


def _no_truncation_by_readers(place: int) -> list[Instruction]:
    """O_RDONLY | O_TRUNC empties a file, and before version 3 Landlock lets readers do it."""
    masked = (_AND, 0, 0, _O_ACCMODE | _O_TRUNC)
    return [_argument(place), masked, *_when(_IF_EQUAL, _O_TRUNC, [_refuse()])]


def _when(test: int, operand: int, body: list[Instruction]) -> list[Instruction]:
    return [(test, 0, len(body), operand), *body]


def _unless(test: int, operand: int, body: list[Instruction]) -> list[Instruction]:
    return [(test, len(body), 0, operand), *body]


def _argument(place: int) -> Instruction:
    # The lower half, on machines that store it first; all that is looked at has 32 bits.
    return _LOAD, 0, 0, _AT_ARGUMENTS + 8 * place


def _refuse(number: int = errno.EPERM) -> Instruction:
    return _RETURN, 0, 0, _ERRNO | number


def _allow() -> Instruction:
    return _RETURN, 0, 0, _ALLOW
