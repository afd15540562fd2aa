"""The database: connections, transactions, and who is told after a commit.

Work on the database runs in threads of its own, so the event loop never waits for a disk.
"""

from __future__ import annotations

import asyncio
import functools
import random
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from edgeconv.base.clock import Clock

P = ParamSpec("P")
R = TypeVar("R")

_POSTGRES_THREADS = 8
_DO_ANEW = ("40001", "40P01")
"""PostgreSQL's words for a transaction that met another one, and for a deadlock."""
_MOST_TRIES = 50
_MOST_PAUSE_S = 0.02


@dataclass
class Transaction:
    """A transaction under way.

    Attributes:
        now_ns: Its one time.
        changed: Topics to touch once it is committed.
    """

    connection: sa.Connection
    now_ns: int
    changed: set[str] = field(default_factory=set)

    def execute(self, statement: sa.Executable) -> sa.CursorResult[Any]:
        """Runs a statement."""
        return self.connection.execute(statement)

    def row(self, statement: sa.Executable) -> dict[str, Any] | None:
        """The first row of a query, by column name."""
        found = self.execute(statement).mappings().first()
        return None if found is None else dict(found)

    def rows(self, statement: sa.Executable) -> list[dict[str, Any]]:
        """The rows of a query, by column name."""
        return [dict(row) for row in self.execute(statement).mappings()]


class Database:
    """Runs transactions."""

    def __init__(self, url: str, clock: Clock, touch: Callable[[Iterable[str]], None]) -> None:
        self._clock = clock
        self._touch = touch
        known = _with_driver(url)
        sqlite = known.get_backend_name() == "sqlite"
        if sqlite:
            self._engine = sa.create_engine(known)
            _prepare_sqlite(self._engine)
        else:
            # As if there were one writer, which is what SQLite has: a transaction that read
            # what another one changed meanwhile is refused, and done anew.
            self._engine = sa.create_engine(known, isolation_level="SERIALIZABLE")
        # SQLite has one writer, and a second thread would only wait for its lock.
        self._threads = ThreadPoolExecutor(1 if sqlite else _POSTGRES_THREADS, "store")

    @property
    def engine(self) -> sa.Engine:
        """For migrations."""
        return self._engine

    async def run(self, work: Callable[[Transaction], R]) -> R:
        """Runs `work` in one transaction, then tells who waits for what it changed.

        A cancelled caller does not undo work that has begun.
        """
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, self._transact, work)
        future.add_done_callback(self._tell)
        result, _ = await asyncio.shield(future)
        return result

    def _tell(self, future: asyncio.Future[tuple[Any, set[str]]]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._touch(future.result()[1])

    async def close(self) -> None:
        """Waits for what runs and closes all connections."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._threads.shutdown)
        self._engine.dispose()

    def _transact(self, work: Callable[[Transaction], R]) -> tuple[R, set[str]]:
        for tries_left in reversed(range(_MOST_TRIES)):
            try:
                with self._engine.begin() as connection:
                    transaction = Transaction(connection, self._clock.now_ns())
                    return work(transaction), transaction.changed
            except sa.exc.DBAPIError as error:
                if not tries_left or getattr(error.orig, "sqlstate", "") not in _DO_ANEW:
                    raise
            time.sleep(random.uniform(0.0, _MOST_PAUSE_S))
        raise AssertionError


class HasDatabase(Protocol):
    """A part of the store."""

    @property
    def database(self) -> Database:
        """Where it runs its transactions."""
        ...


S = TypeVar("S", bound=HasDatabase)


def transaction(
    method: Callable[Concatenate[S, Transaction, P], R],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Makes a method that takes a transaction one that is awaited and runs in its own."""

    async def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self.database.run(lambda tx: method(self, tx, *args, **kwargs))

    functools.update_wrapper(run, method)
    return run


def dispatch(url: str) -> sa.Engine:
    """Connections to a database of queues, whose tables and transactions are not the store's.

    On SQLite it is a file of its own: nothing of the store waits for its one writer.
    """
    known = _with_driver(url)
    engine = sa.create_engine(known)
    if known.get_backend_name() == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def _connect(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = "IMMEDIATE"
            _set_pragmas(connection)

    return engine


def _with_driver(url: str) -> sa.URL:
    known = sa.make_url(url)
    return known.set(drivername="postgresql+psycopg") if known.drivername == "postgresql" else known


def _set_pragmas(connection: sqlite3.Connection) -> None:
    for pragma in (
        "busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def _prepare_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own BEGIN comes too late; ours is below.
        connection.isolation_level = None
        _set_pragmas(connection)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A deferred transaction that reads and then writes fails at once when another
        # process wrote in between, whatever the time-out.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def insert_new(tx: Transaction, table: sa.Table, values: dict[str, Any]) -> bool:
    """Inserts a row unless one of its key exists; whether it did."""
    make = postgresql_insert if tx.connection.dialect.name == "postgresql" else sqlite_insert
    return tx.execute(make(table).values(**values).on_conflict_do_nothing()).rowcount == 1
