"""Landlock by its system calls: which files, ports and processes this thread may reach.

Interface: the kernel's Documentation/userspace-api/landlock.rst. It binds the calling thread
and what that one starts, so it has to come before any other thread.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

# The same numbers on all architectures but alpha.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _MAKE_SYM = 1 << 7, 1 << 8, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_RIGHTS_OF_VERSION = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
_RIGHTS_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

READ = _READ_FILE | _READ_DIR
WRITE = (
    READ
    | _WRITE_FILE
    | _TRUNCATE
    | _REFER
    | _REMOVE_DIR
    | _REMOVE_FILE
    | _MAKE_DIR
    | _MAKE_REG
    | _MAKE_SYM
)

_TCP_FROM, _BIND_AND_CONNECT = 4, 3
_SCOPES_FROM, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 3


def restrict(rules: Iterable[tuple[Path, int]], newest: int) -> int:
    """Lets the calling thread reach these places only, and no TCP port.

    Nothing may be executed. Signals go to its own children only, from version 6 on.

    Args:
        rules: Place, and READ or WRITE. What does not exist is left out.
        newest: No newer version of the interface is used than this one.

    Returns:
        The version in force.

    Raises:
        OSError: the kernel can't, or must not.
    """
    offered = _checked(_call(_CREATE_RULESET, None, 0, _VERSION_FLAG), "version")
    version = min(offered, newest)
    handled = sum(rights for since, rights in _RIGHTS_OF_VERSION.items() if since <= version)
    attributes = struct.pack(
        "=QQQ",
        handled,
        _BIND_AND_CONNECT if version >= _TCP_FROM else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if version >= _SCOPES_FROM else 0,
    )
    size = 24 if version >= _SCOPES_FROM else 16 if version >= _TCP_FROM else 8
    ruleset = _checked(_call(_CREATE_RULESET, attributes, size, 0), "ruleset")
    try:
        for place, rights in rules:
            _allow(ruleset, place, rights & handled)
        _checked(_call(_RESTRICT_SELF, ruleset, 0), "restrict")
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, place: Path, rights: int) -> None:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        # What is not there, or can't be reached anyway, needs no rule.
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _RIGHTS_OF_FILES
        rule = struct.pack("=Qi", rights, descriptor)
        _checked(_call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0), str(place))
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: int | bytes | None) -> int:
    words = [
        ctypes.c_long(given) if isinstance(given, int) else ctypes.c_char_p(given)
        for given in arguments
    ]
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *words)
    return result


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result
