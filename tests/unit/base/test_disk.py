"""What a disk says, as an error that tells what to do."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from edgeconv.base.disk import disk_error, disk_full, free_at
from edgeconv.base.errors import Reason


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), Reason.DISK_FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), Reason.DISK_FULL),
        (OSError(errno.EROFS, "Read-only file system"), Reason.DISK_FAILED),
        (OSError(errno.EIO, "Input/output error"), Reason.DISK_FAILED),
        (PermissionError(errno.EACCES, "Permission denied"), Reason.DISK_FAILED),
        (RuntimeError("Unable to copy: No space left (os error 28)\n\nmore"), Reason.DISK_FULL),
        (RuntimeError("Unable to open: Read-only (os error 30)"), Reason.DISK_FAILED),
        (sqlite3.OperationalError("database or disk is full"), Reason.DISK_FULL),
        (sqlite3.OperationalError("disk I/O error"), Reason.DISK_FAILED),
        (sqlite3.OperationalError("attempt to write a readonly database"), Reason.DISK_FAILED),
    ],
)
def test_what_a_disk_refuses_is_told_as_such(fault: Exception, reason: Reason) -> None:
    known = disk_error(fault, None)
    assert known is not None
    assert known.reason is reason
    assert known.fix


@pytest.mark.parametrize(
    "fault",
    [
        FileNotFoundError(errno.ENOENT, "No such file"),
        OSError(errno.EADDRINUSE, "Address in use"),
        RuntimeError("another fault (os error 17)"),
        sqlite3.OperationalError("database is locked"),
        ValueError("28"),
    ],
)
def test_any_other_fault_is_left_alone(fault: Exception) -> None:
    assert disk_error(fault, None) is None


def test_the_place_and_the_figures_are_told(tmp_path: Path) -> None:
    place = tmp_path / "not" / "there" / "yet"
    free = free_at(place)
    assert free is not None
    told = disk_full(place, doing="storing a blob", needed_bytes=3 * 2**20, free_bytes=2**20)
    assert told.message == (
        f"Storing a blob failed: the disk of '{place}' is full: 3 MiB were needed, 1 MiB are free."
    )
    kept = disk_full(place, needed_bytes=9, free_bytes=2**20, reserve_bytes=2**26)
    assert kept.message.endswith(
        "is full: 9 B were needed, 1 MiB are free, 64 MiB of the disk stay free for records."
    )
    assert told.metadata == {
        "place": str(place), "needed_bytes": str(3 * 2**20), "free_bytes": str(2**20),
    }  # fmt: skip
    read_only = disk_error(OSError(errno.EROFS, "ro"), tmp_path)
    assert read_only is not None
    assert f"in '{tmp_path}': it is read-only (EROFS)" in read_only.message
