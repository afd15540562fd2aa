"""Files into and out of a job child's folder. All of it blocks.

What a child wrote is not trusted: only regular files are taken, opened without following
links, and their digests are computed here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from edgeconv.base.bundle import check_file_name
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.quantities import format_bytes
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.records import FileRecord, Files

MAX_FILES = 256
MAX_BUNDLE_BYTES = 8 * 1024**3

# Later steps read these files; one that changed them would change what they stand for.
_READ_ONLY = 0o444
_READ_ONLY_FOLDER = 0o555
_TAKEN_AWAY = (errno.ENOTDIR, errno.ENOENT, errno.EACCES, errno.ELOOP)


def bring_in(blobs: Blobs, files: Files, folder: Path) -> None:
    """Writes copies of a bundle's files into a new folder.

    Raises:
        EdgeconvError: BLOB_DAMAGED.
    """
    folder.mkdir(parents=True)
    for file in files:
        blobs.write_to(file, folder / file.name)
        (folder / file.name).chmod(_READ_ONLY)
    folder.chmod(_READ_ONLY_FOLDER)


def take_out(blobs: Blobs, folder: Path) -> Files:
    """Stores the files that a step wrote.

    Raises:
        EdgeconvError: FIELD_INVALID for what is no regular file, or a folder that is none any
            more; LIMIT_EXCEEDED for more
            than 256 files or 8 GiB.
    """
    folder_fd = _opened(folder)
    try:
        names = sorted(os.listdir(folder_fd))  # noqa: PTH208 a path could be swapped
        if len(names) > MAX_FILES:
            raise EdgeconvError(
                Reason.LIMIT_EXCEEDED,
                f"The step wrote {len(names)} files; {MAX_FILES} are allowed.",
            )
        _check_sizes(folder_fd, names)
        left = MAX_BUNDLE_BYTES
        files: list[FileRecord] = []
        for name in names:
            file = _take_file(blobs, folder_fd, check_file_name(name), left)
            left -= file.size_bytes
            files.append(file)
        os.fchmod(folder_fd, _READ_ONLY_FOLDER)
    finally:
        os.close(folder_fd)
    return tuple(files)


def _opened(folder: Path) -> int:
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _TAKEN_AWAY:
            raise
        # Its maker may move it away, and put a link in its place, or a folder that is closed.
        raise EdgeconvError(
            Reason.FIELD_INVALID, "The step took its folder away.", name=folder.name
        ) from error


def _check_sizes(folder_fd: int, names: Iterable[str]) -> None:
    """Refuses what is too much before any of it is read: a file may be large and hold nothing."""
    whole = 0
    for name in names:
        with suppress(FileNotFoundError):
            whole += os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_size
    if whole > MAX_BUNDLE_BYTES:
        raise EdgeconvError(
            Reason.LIMIT_EXCEEDED,
            f"The step wrote {format_bytes(whole)}; {format_bytes(MAX_BUNDLE_BYTES)} are allowed.",
        )


def _take_file(blobs: Blobs, folder_fd: int, name: str, max_bytes: int) -> FileRecord:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=folder_fd)
    except OSError as error:
        raise _refusal(name) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise _refusal(name)
    with os.fdopen(fd, "rb") as stream:
        os.fchmod(fd, _READ_ONLY)
        return blobs.put_file(stream, name, max_bytes=max_bytes)


def _refusal(name: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.FIELD_INVALID, f"The step wrote {name!r}, which is no regular file.", name=name
    )
