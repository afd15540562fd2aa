"""Takes files out of the page cache, so that the next load reads the disk."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

_TRIES = 3


def evict(files: Iterable[Path]) -> bool | None:
    """Drops the cached pages of files that nobody has mapped.

    Dirty pages are written first: the kernel drops clean ones only.

    Returns:
        True when no page is cached any more; False when some are (another process maps
        the file, or the file system lives in memory); None where the kernel does not tell
        this user, who neither owns a file nor may write it.
    """
    answers = [_evict_one(path) for path in files]
    if False in answers:
        return False
    return None if None in answers else True


def _evict_one(path: Path) -> bool | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        answer: bool | None = False
        for _ in range(_TRIES):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            answer = _is_out(descriptor, path)
            if answer is not False:
                break
        return answer
    finally:
        os.close(descriptor)


def _is_out(descriptor: int, path: Path) -> bool | None:
    """Whether no page of the file is in memory, by mincore(2).

    Not by a read with RWF_NOWAIT: that begins to read the file ahead.
    """
    status = os.fstat(descriptor)
    if status.st_size == 0:
        return True
    if status.st_uid != os.geteuid() and not os.access(path, os.W_OK):
        return None
    pages = (ctypes.c_ubyte * -(-status.st_size // mmap.PAGESIZE))()
    # Private and writable, because ctypes gives no address of a read-only mapping.
    protection = mmap.PROT_READ | mmap.PROT_WRITE
    with mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=protection) as mapped:
        first = ctypes.c_char.from_buffer(mapped)
        library = ctypes.CDLL(None, use_errno=True)
        size = ctypes.c_size_t(status.st_size)
        failed = library.mincore(ctypes.c_void_p(ctypes.addressof(first)), size, pages)
        del first
    return None if failed else not any(page & 1 for page in pages)
