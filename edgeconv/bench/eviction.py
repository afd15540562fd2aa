"""Takes files out of the page cache, so that the next load reads the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

_PAGE_BYTES = 4096


def evict(files: Iterable[Path]) -> bool | None:
    """Drops the cached pages of files that nobody has mapped.

    Dirty pages are written first: the kernel drops clean ones only.

    Returns:
        True when no page is cached any more; False when some are (another process maps
        the file, or the file system lives in memory); None where the kernel can't tell.
    """
    answers = [_evict_one(path) for path in files]
    if False in answers:
        return False
    return None if None in answers else True


def _evict_one(path: Path) -> bool | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return _is_out(descriptor)
    finally:
        os.close(descriptor)


def _is_out(descriptor: int) -> bool | None:
    """Whether the first and last page would have to come from the disk."""
    size = os.fstat(descriptor).st_size
    for offset in {0, max(size - _PAGE_BYTES, 0) // _PAGE_BYTES * _PAGE_BYTES}:
        try:
            # A read that would have to wait for the disk fails instead.
            if os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT):
                return False
        except OSError as error:
            if error.errno != errno.EAGAIN:
                return None
    return True
