from __future__ import annotations

import sqlite3

import psycopg
import pytest
import sqlalchemy as sa

from edgeconv.base.errors import Reason
from edgeconv.server.store.outages import Outage, Trouble, outage_of, trouble_of


def _postgres(kind: type[psycopg.Error]) -> sa.exc.DBAPIError:
    made = sa.exc.OperationalError if issubclass(kind, psycopg.OperationalError) else None
    return (made or sa.exc.DBAPIError)("SELECT 1", {}, kind("words."))


def _sqlite(code: int) -> sa.exc.DBAPIError:
    error = sqlite3.OperationalError("words")
    error.sqlite_errorcode = code
    return sa.exc.OperationalError("SELECT 1", {}, error)


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (_postgres(psycopg.errors.SerializationFailure), Trouble.MET_ANOTHER),
        (_postgres(psycopg.errors.DeadlockDetected), Trouble.MET_ANOTHER),
        (_postgres(psycopg.errors.AdminShutdown), Trouble.LOST),
        (_postgres(psycopg.errors.CannotConnectNow), Trouble.LOST),
        (_postgres(psycopg.errors.ConnectionFailure), Trouble.LOST),
        (_postgres(psycopg.OperationalError), Trouble.LOST),
        (_postgres(psycopg.errors.QueryCanceled), Trouble.SLOW),
        (_postgres(psycopg.errors.TooManyConnections), Trouble.SLOW),
        (_postgres(psycopg.errors.LockNotAvailable), Trouble.LOCKED),
        (_postgres(psycopg.errors.DiskFull), Trouble.UNWRITABLE),
        (_postgres(psycopg.errors.ReadOnlySqlTransaction), Trouble.UNWRITABLE),
        (_postgres(psycopg.errors.UniqueViolation), Trouble.FAULT),
        (_postgres(psycopg.errors.UndefinedTable), Trouble.FAULT),
        (_postgres(psycopg.ProgrammingError), Trouble.FAULT),
        (_sqlite(sqlite3.SQLITE_BUSY), Trouble.LOCKED),
        (_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT), Trouble.LOCKED),
        (_sqlite(sqlite3.SQLITE_FULL), Trouble.UNWRITABLE),
        (_sqlite(sqlite3.SQLITE_READONLY_DBMOVED), Trouble.UNWRITABLE),
        (_sqlite(sqlite3.SQLITE_CORRUPT), Trouble.FAULT),
        (sa.exc.TimeoutError("the pool is empty"), Trouble.SLOW),
        (sa.exc.NoResultFound(), Trouble.FAULT),
    ],
)
def test_what_an_error_means(error: sa.exc.SQLAlchemyError, trouble: Trouble) -> None:
    assert trouble_of(error) is trouble
    assert (outage_of(error) is None) == (trouble is Trouble.FAULT)


@pytest.mark.parametrize("trouble", [each for each in Trouble if each is not Trouble.FAULT])
def test_callers_are_told_what_to_do_and_not_where_the_database_is(trouble: Trouble) -> None:
    told = Outage(trouble, "host=db.internal").told()
    assert "db.internal" not in f"{told}{told.metadata}"
    assert told.fix
    if trouble is Trouble.UNWRITABLE:
        assert told.reason is Reason.STATE_UNWRITABLE
    else:
        assert told.reason is Reason.DATABASE_UNAVAILABLE
        assert told.retry_s > 0
