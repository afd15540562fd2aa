"""Which walls the kernel has for child processes, told without building any."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_VERSION_FLAG = 1


def kernel_walls() -> dict[str, bool]:
    """Wall → whether this kernel offers it to this user."""
    return {
        "landlock": landlock_version() > 0,
        "seccomp": _has_seccomp(),
        "user namespaces": _has_user_namespaces(),
    }


def landlock_version() -> int:
    """Version of the Landlock interface; 0 when there is none."""
    # The number is the same on all architectures but alpha; see the kernel's landlock.rst.
    if platform.system() != "Linux":
        return 0
    call = ctypes.CDLL(None, use_errno=True).syscall
    version: int = call(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION_FLAG)
    return max(version, 0)


def _has_seccomp() -> bool:
    try:
        return "Seccomp:" in Path("/proc/self/status").read_text()
    except OSError:
        return False


def _has_user_namespaces() -> bool:
    try:
        return int(Path("/proc/sys/user/max_user_namespaces").read_text()) > 0
    except (OSError, ValueError):
        return False
