"""What a disk says when it can't be written, as an error that tells a person what to do."""

from __future__ import annotations

import errno
import re
import shutil
from contextlib import suppress
from pathlib import Path

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.quantities import format_bytes
from edgeconv.base.writable import nearest_place

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM})
_NUMBER = re.compile(r"\(os error ([0-9]+)\)")
"""How libraries that are not written in Python tell the system's number."""
_WORDS = {
    "no space left on device": errno.ENOSPC,
    "database or disk is full": errno.ENOSPC,
    "disk i/o error": errno.EIO,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
}

_MAKE_ROOM = "Make room there: `edgeconv gc --older-than 30d` removes what was not used lately."


def disk_error(
    fault: BaseException, place: Path | None, *, doing: str = "", needed_bytes: int = 0
) -> EdgeconvError | None:
    """DISK_FULL or DISK_FAILED for what a disk refused; None for any other fault.

    Args:
        place: What was written, or the folder it lies in; None where that is not known.
        doing: What failed, such as "storing a blob".
        needed_bytes: How much was to be written; 0 where that is not known.
    """
    number = _system_number(fault)
    if number in _FULL:
        return disk_full(place, doing=doing, needed_bytes=needed_bytes)
    if number not in _REFUSED:
        return None
    where = f" in {str(place)!r}" if place is not None else ""
    said = errno.errorcode[number]
    return EdgeconvError(
        Reason.DISK_FAILED,
        f"{_begin(doing)}the disk refuses it{where}: {_words(number)} ({said}).",
        fix="Let the server write there: look at the folder's rights, whether its disk is mounted"
        " read-only, and the system's log.",
        place=place or "",
        system_error=said,
    )


def disk_full(
    place: Path | None,
    *,
    doing: str = "",
    needed_bytes: int = 0,
    free_bytes: int | None = None,
    reserve_bytes: int = 0,
) -> EdgeconvError:
    """DISK_FULL, with what was needed and what is free where that is known.

    Args:
        reserve_bytes: What is to stay free.
    """
    free = free_at(place) if free_bytes is None and place is not None else free_bytes
    figures = []
    if needed_bytes:
        figures.append(f"{format_bytes(needed_bytes)} were needed")
    if free is not None:
        figures.append(f"{format_bytes(free)} are free")
    if reserve_bytes:
        figures.append(f"{format_bytes(reserve_bytes)} of the disk stay free for records")
    where = f" of {str(place)!r}" if place is not None else ""
    listed = f": {', '.join(figures)}" if figures else ""
    return EdgeconvError(
        Reason.DISK_FULL,
        f"{_begin(doing)}the disk{where} is full{listed}.",
        fix=_MAKE_ROOM,
        place=place or "",
        needed_bytes=needed_bytes,
        free_bytes="" if free is None else free,
    )


def free_at(place: Path) -> int | None:
    """Free bytes on the disk of a file or folder, or of where it would be made."""
    with suppress(OSError):
        return shutil.disk_usage(nearest_place(place)).free
    return None


def _system_number(fault: BaseException) -> int:
    if isinstance(fault, OSError) and fault.errno:
        return fault.errno
    text = str(fault)
    if found := _NUMBER.search(text):
        return int(found[1])
    return next((number for words, number in _WORDS.items() if words in text.lower()), 0)


def _begin(doing: str) -> str:
    return f"{doing[:1].upper()}{doing[1:]} failed: " if doing else "Writing failed: "


def _words(number: int) -> str:
    return {
        errno.EROFS: "it is read-only",
        errno.EIO: "it has faults",
        errno.EACCES: "the right to write is missing",
        errno.EPERM: "the right to write is missing",
    }[number]
