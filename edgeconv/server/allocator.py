"""What the C library of this process does with memory that was freed.

Left to itself, glibc gives threads up to eight arenas a core, and raises the size from which a
block is given back to the system to that of the largest that was freed. A server whose threads
each handle a megabyte for a moment then keeps several times of what it ever used at once.
"""

from __future__ import annotations

import ctypes
import logging
import os

_LOG = logging.getLogger(__name__)

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_SETTINGS = (
    (_ARENA_MAX, 2, "MALLOC_ARENA_MAX"),
    (_MMAP_THRESHOLD, 256 * 1024, "MALLOC_MMAP_THRESHOLD_"),
    (_TRIM_THRESHOLD, 4 * 1024 * 1024, "MALLOC_TRIM_THRESHOLD_"),
)
"""Parameter of mallopt(3), its value, and the variable by which an operator sets another."""


def give_back_what_is_freed() -> None:
    """Sets few arenas, and lets large blocks go as soon as they are freed.

    To be called before threads are started. Without effect on what the environment sets, and
    where the C library is not glibc: others have no arenas.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt") or "GLIBC_TUNABLES" in os.environ:
        _LOG.info("the C library's own ways with freed memory stand")
        return
    for parameter, value, variable in _SETTINGS:
        if variable not in os.environ and not library.mallopt(parameter, value):
            _LOG.warning("mallopt refused %s=%d", variable, value)
