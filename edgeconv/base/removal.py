"""Removing a folder that something foreign has filled, and may still be changing.

No link is followed: everything is done by descriptors of folders that were opened without
following one. Nothing recurs: what lies deeper is moved up first, however deep it lies.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

_LOG = logging.getLogger(__name__)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_folder(folder: Path, *, limit_s: float = 60.0) -> None:
    """Removes a folder with all that is in it; what can't be removed is logged. Blocks.

    Args:
        limit_s: How long it tries, in seconds: whoever fills the folder may be faster.
    """
    try:
        parent = os.open(folder.parent, _FOLDER)
    except FileNotFoundError:
        return
    except OSError as error:
        _LOG.warning("%s can't be removed: %s", folder, error)
        return
    try:
        _remove(parent, folder.name, time.monotonic() + limit_s)
    except FileNotFoundError:
        return
    except (OSError, TimeoutError) as error:
        _LOG.warning("%s can't be removed: %s", folder, error)
    finally:
        os.close(parent)


def _remove(parent: int, name: str, deadline: float) -> None:
    inner = _opened(parent, name)
    if inner is None:
        os.unlink(name, dir_fd=parent)
        return
    try:
        _empty(inner, deadline)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=parent)


def _empty(top: int, deadline: float) -> None:
    """Empties a folder.

    Raises:
        OSError: of the first entry that can't be removed, after all others.
        TimeoutError: it is filled faster than it is emptied.
    """
    moved = (f"{secrets.token_hex(8)}.{number}" for number in count())
    stuck: dict[str, OSError] = {}
    while names := [name for name in os.listdir(top) if name not in stuck]:
        for name in names:
            if time.monotonic() > deadline:
                raise TimeoutError("it is filled while it is emptied")
            try:
                _remove_or_raise(top, name, moved)
            except FileNotFoundError:
                continue
            except OSError as error:
                stuck[name] = error
    for kept in stuck.values():
        raise kept


def _remove_or_raise(top: int, name: str, moved: Iterator[str]) -> None:
    """Removes an entry; a folder's own folders come up to the top."""
    inner = _opened(top, name)
    if inner is None:
        os.unlink(name, dir_fd=top)
        return
    try:
        for deeper in os.listdir(inner):  # noqa: PTH208
            if _is_folder(inner, deeper):
                os.rename(deeper, next(moved), src_dir_fd=inner, dst_dir_fd=top)
            else:
                os.unlink(deeper, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)


def _opened(parent: int, name: str) -> int | None:
    """A folder that can be changed from here on; None for what is no folder."""
    if not _is_folder(parent, name):
        return None
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except NotADirectoryError:
        # Swapped in between.
        return None


def _is_folder(parent: int, name: str) -> bool:
    """Whether it is a folder, not a link to one; then it may be read and changed afterwards."""
    place = os.open(name, _PLACE, dir_fd=parent)
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            return False
        # By this way a mode is changed of what was opened, and of nothing else.
        os.chmod(f"/proc/self/fd/{place}", 0o700)  # noqa: PTH101
        return True
    finally:
        os.close(place)
