"""Connections to the databases, none of which may wait for ever."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edgeconv.server.store.urls import with_driver

POSTGRES_THREADS = 8
"""Transactions of one server that run side by side on PostgreSQL."""


@dataclass(frozen=True)
class TimeLimits:
    """How long what is asked of a database may take, in seconds.

    Attributes:
        connect_s: Until a connection stands.
        lock_s: For a lock that another transaction holds; on SQLite that of the one writer.
        statement_s: For a statement.
        again_s: How long a transaction is tried again that a lost database broke off, before
            whoever waits for it is told.
        answer_s: For a transaction with all its tries. Its connection is closed after that, and
            whoever waits for it is told.
    """

    connect_s: float = 3.0
    lock_s: float = 5.0
    statement_s: float = 10.0
    again_s: float = 3.0
    answer_s: float = 15.0


def connected(url: str | sa.URL, limits: TimeLimits) -> sa.Engine:
    """Connections for the store's transactions."""
    known = with_driver(url)
    if known.get_backend_name() == "sqlite":
        engine = sa.create_engine(known)
        _prepare_sqlite(engine, limits)
        return engine
    # As if there were one writer, which is what SQLite has: a transaction that read what
    # another one changed meanwhile is refused, and done anew.
    engine = sa.create_engine(
        known, isolation_level="SERIALIZABLE", pool_size=POSTGRES_THREADS, max_overflow=2,
        pool_timeout=limits.answer_s, connect_args=_connect_args(limits),
    )  # fmt: skip
    _limit_statements(engine, limits)
    return engine


def dispatch(url: str | sa.URL, limits: TimeLimits = TimeLimits()) -> sa.Engine:
    """Connections to a database of queues, whose tables and transactions are not the store's.

    On SQLite it is a file of its own: nothing of the store waits for its one writer.
    """
    known = with_driver(url)
    if known.get_backend_name() != "sqlite":
        engine = sa.create_engine(known, connect_args=_connect_args(limits))
        _limit_statements(engine, limits)
        return engine
    engine = sa.create_engine(known)

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        _set_pragmas(connection, limits)

    return engine


def _connect_args(limits: TimeLimits) -> dict[str, Any]:
    """What makes a network that drops everything known as lost.

    Of a database that is there and does not answer, nothing of this tells.
    """
    return {
        "connect_timeout": max(2, round(limits.connect_s)),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": round(limits.answer_s * 1000),
        "application_name": "edgeconv",
    }


def _limit_statements(engine: sa.Engine, limits: TimeLimits) -> None:
    """By SET, for what stands between may not let start-up options through."""
    settings = {
        "statement_timeout": limits.statement_s,
        "lock_timeout": limits.lock_s,
        # Of a server that stopped in the middle of one: others wait for its locks.
        "idle_in_transaction_session_timeout": 2 * limits.answer_s,
    }

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        connection.autocommit = True
        for name, limit_s in settings.items():
            connection.execute(f"SET {name} = {round(limit_s * 1000)}")
        connection.autocommit = False


def _set_pragmas(connection: sqlite3.Connection, limits: TimeLimits) -> None:
    for pragma in (
        f"busy_timeout={round(limits.lock_s * 1000)}", "journal_mode=WAL", "synchronous=NORMAL",
        "foreign_keys=ON",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def _prepare_sqlite(engine: sa.Engine, limits: TimeLimits) -> None:
    @sa.event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own BEGIN comes too late; ours is below.
        connection.isolation_level = None
        _set_pragmas(connection, limits)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A deferred transaction that reads and then writes fails at once when another
        # process wrote in between, whatever the time-out.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
