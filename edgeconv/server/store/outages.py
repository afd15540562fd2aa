"""What a database's error means for the transaction that met it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import Enum, auto

import sqlalchemy as sa

from edgeconv.base.disk import disk_error, disk_full
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause


class Trouble(Enum):
    """Why a transaction broke off."""

    MET_ANOTHER = auto()
    """Another transaction changed what it had read, or both waited for each other."""
    LOST = auto()
    """The database is not reached, or the connection broke; also in the midst of a commit."""
    SLOW = auto()
    """A limit of time was reached, or too many are connected."""
    LOCKED = auto()
    """Another transaction holds a lock, or another process has the file."""
    UNWRITABLE = auto()
    """The file or the whole database takes no writes now."""
    FAULT = auto()
    """None of these: a fault of ours."""


_SQLITE = {
    sqlite3.SQLITE_BUSY: Trouble.LOCKED,
    sqlite3.SQLITE_LOCKED: Trouble.LOCKED,
    sqlite3.SQLITE_READONLY: Trouble.UNWRITABLE,
    sqlite3.SQLITE_CANTOPEN: Trouble.UNWRITABLE,
    sqlite3.SQLITE_IOERR: Trouble.UNWRITABLE,
    sqlite3.SQLITE_FULL: Trouble.UNWRITABLE,
    sqlite3.SQLITE_INTERRUPT: Trouble.SLOW,
}
_DISK_FULL = "53100"
_SQLSTATES = {
    "40001": Trouble.MET_ANOTHER,  # serialization_failure
    "40P01": Trouble.MET_ANOTHER,  # deadlock_detected
    "25P03": Trouble.LOST,  # idle_in_transaction_session_timeout
    "25006": Trouble.UNWRITABLE,  # read_only_sql_transaction
    _DISK_FULL: Trouble.UNWRITABLE,
    "53200": Trouble.SLOW,  # out_of_memory
    "53300": Trouble.SLOW,  # too_many_connections
    "55P03": Trouble.LOCKED,  # lock_not_available
    "57014": Trouble.SLOW,  # query_canceled
}
_LOST_CLASSES = ("08", "57P")
"""Connection exceptions, and what an operator's stop of the database brings with it."""


RETRY_S = 2.0
"""When whoever was refused may come again."""


@dataclass
class Outage(Exception):
    """A transaction broke off for no fault of its own; it was not committed, or that is in doubt.

    Attributes:
        detail: The database's own words, for the log of the server.
        refusal: What its disk said, where it was the disk.
    """

    trouble: Trouble
    detail: str
    refusal: EdgeconvError | None = None

    def __str__(self) -> str:
        return self.detail

    def told(self) -> EdgeconvError:
        """What is said to whoever waited; the log tells more."""
        if self.refusal is not None:
            return self.refusal
        if self.trouble is Trouble.UNWRITABLE:
            known = disk_error(self, None, doing="writing the database")
            if known is not None and known.reason is Reason.DISK_FULL:
                return known
            return EdgeconvError(
                Reason.STATE_UNWRITABLE,
                "The server's database takes no writes.",
                fix="The server's log says why: a full disk, a file or folder that may only be"
                " read. It goes on by itself when that is mended.",
            )
        return EdgeconvError(
            Reason.DATABASE_UNAVAILABLE,
            _SAID[self.trouble],
            fix="Try again in a while. Jobs wait for the database and go on by themselves.",
            retry_s=RETRY_S,
        )


_SAID = {
    Trouble.LOST: "The server's database does not answer.",
    Trouble.SLOW: "The server's database did not answer in time.",
    Trouble.LOCKED: "The server's database is locked by another process.",
    Trouble.MET_ANOTHER: "The server's database is too busy.",
}


def trouble_of(error: Exception) -> Trouble:
    """Why a transaction broke off with this error."""
    if isinstance(error, sa.exc.TimeoutError):
        return Trouble.SLOW
    if not isinstance(error, sa.exc.DBAPIError):
        return Trouble.FAULT
    if isinstance(error.orig, sqlite3.Error):
        # The low byte is the error, the rest its kind.
        return _SQLITE.get(getattr(error.orig, "sqlite_errorcode", 0) & 0xFF, Trouble.FAULT)
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        # No word of the database itself came: it was not reached, or not any more.
        return Trouble.LOST if isinstance(error, sa.exc.OperationalError) else Trouble.FAULT
    if state in _SQLSTATES:
        return _SQLSTATES[state]
    return Trouble.LOST if state.startswith(_LOST_CLASSES) else Trouble.FAULT


def outage_of(error: Exception) -> Outage | None:
    """The outage that an error tells of; None for a fault of ours."""
    trouble = trouble_of(error)
    if trouble is Trouble.FAULT:
        return None
    cause = getattr(error, "orig", None) or error
    return Outage(trouble, clause(" ".join(str(cause).split())), _refusal(cause))


def _refusal(cause: BaseException) -> EdgeconvError | None:
    doing = "writing the database"
    if getattr(cause, "sqlstate", "") == _DISK_FULL:
        return disk_full(None, doing=doing)
    if getattr(cause, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return disk_error(cause, None, doing=doing)
    return None
