"""The database: transactions, what happens to them when it is lost, and who is told after one.

Work on the database runs in threads of its own, so the event loop never waits for a disk, and
no one waits for a database that does not answer longer than the limits say.

A transaction that was broken off is done anew where it is known that it was not committed. Where
a commit's answer was lost, that is not known: on PostgreSQL each transaction that writes leaves a
mark in its own commit, and the next try leaves the same mark first. If the mark is there, what the
first try came to is the result; if the first try is about to commit, the second waits for it. On
SQLite a commit answers always.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from edgeconv.base.clock import Clock
from edgeconv.base.ids import new_id
from edgeconv.base.quantities import NS_PER_S
from edgeconv.server.store.connections import POSTGRES_THREADS, TimeLimits, connected
from edgeconv.server.store.cutting import Cuttable
from edgeconv.server.store.outages import Outage, Trouble, outage_of
from edgeconv.server.store.tables import commit_marks
from edgeconv.server.store.urls import shown

_LOG = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

_MOST_TRIES = 50
_MOST_PAUSE_S = 0.02
_OUTAGE_PAUSE_S = 0.25
_CUT_S = 1.0
_OLD_MARK_NS = 7 * 24 * 3600 * NS_PER_S

_MARK_LAST = (
    "INSERT INTO commit_marks (mark, create_ns) SELECT %s, %s"
    " WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
)


class Transaction:
    """A transaction under way.

    Attributes:
        changed: Topics to touch once it is committed.
        may_have_written: Whether it ran anything but queries.
    """

    def __init__(self, connection: sa.Connection, clock: Clock | None) -> None:
        self.connection = connection
        self.changed: set[str] = set()
        self.may_have_written = False
        self._clock = clock

    @functools.cached_property
    def now_ns(self) -> int:
        """Its one time, in nanoseconds since the Unix epoch: of the store's clock if it was
        given one, else of the database, so that servers whose clocks differ agree."""
        if self._clock is not None:
            return self._clock.now_ns()
        if self.connection.dialect.name == "sqlite":
            # It runs in this process.
            return time.time_ns()
        micros = sa.text("SELECT (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint")
        return int(self.connection.execute(micros).scalar_one()) * 1000

    def execute(self, statement: sa.Executable) -> sa.CursorResult[Any]:
        """Runs a statement."""
        self.may_have_written |= not isinstance(statement, sa.Select)
        return self.connection.execute(statement)

    def row(self, statement: sa.Executable) -> dict[str, Any] | None:
        """The first row of a query, by column name."""
        found = self.execute(statement).mappings().first()
        return None if found is None else dict(found)

    def rows(self, statement: sa.Executable) -> list[dict[str, Any]]:
        """The rows of a query, by column name."""
        return [dict(row) for row in self.execute(statement).mappings()]


class _Piece(Generic[R]):
    """Work for one transaction, over all its tries; used by one thread at a time."""

    def __init__(self, work: Callable[[Transaction], R]) -> None:
        self.work = work
        self.mark = new_id()
        self.came: tuple[R, set[str]] | None = None
        """What a try came to whose commit did not answer."""
        self.held = Cuttable()
        self._last: Future[tuple[R, set[str]]] | None = None
        self._taken_back = False

    def submit(
        self, threads: ThreadPoolExecutor, work: Callable[[_Piece[R]], tuple[R, set[str]]]
    ) -> Future[tuple[R, set[str]]]:
        """Begins another try in one of the threads.

        Raises:
            CancelledError: it was taken back before.
        """
        if self._taken_back:
            raise asyncio.CancelledError
        self._last = threads.submit(work, self)
        return self._last

    def take_back(self) -> None:
        """Drops a try that has not begun, and those that would come."""
        self._taken_back = True
        if self._last is not None:
            self._last.cancel()


class Database:
    """Runs transactions."""

    def __init__(
        self,
        url: str | sa.URL,
        clock: Clock | None,
        touch: Callable[[Iterable[str]], None],
        limits: TimeLimits,
    ) -> None:
        self._clock = clock
        self._touch = touch
        self._limits = limits
        self._engine = connected(url, limits)
        self._marks = self._engine.dialect.name == "postgresql"
        # SQLite has one writer, and a second thread would only wait for its lock.
        self._threads = ThreadPoolExecutor(POSTGRES_THREADS if self._marks else 1, "store")
        self._under_way: set[asyncio.Task[Any]] = set()
        self._news = _News(shown(self._engine.url))
        # Threads add to it while it is emptied; a deque takes that.
        self._settled: deque[str] = deque()
        self._waits = False
        self._ending = asyncio.Event()

    @property
    def engine(self) -> sa.Engine:
        """For migrations."""
        return self._engine

    def patient(self) -> Self:
        """The same database for who has no caller that waits: it waits as long as an outage
        takes, until `end_patience`, which cancels it."""
        sibling = copy.copy(self)
        sibling._waits = True
        return sibling

    def end_patience(self) -> None:
        """Lets nobody wait for a lost database any longer."""
        self._ending.set()

    async def run(self, work: Callable[[Transaction], R]) -> R:
        """Runs `work` in one transaction, then tells who waits for what it changed.

        `work` may be run several times, of which one is committed. A cancelled caller takes
        back what has not begun, and does not undo what has.

        Raises:
            EdgeconvError: DATABASE_UNAVAILABLE when the database was lost, or did not answer in
                time: whether the work was done is not known then. STATE_UNWRITABLE.
        """
        piece = _Piece(work)
        task = asyncio.create_task(self._until_done(piece))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            piece.take_back()
            raise

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            # A caller that was cancelled does not ask.
            task.exception()

    async def _until_done(self, piece: _Piece[R]) -> R:
        began = time.monotonic()
        while True:
            try:
                result = await self._try(piece, began + self._limits.answer_s)
            except Outage as outage:
                self._news.lost(outage)
                if not self._goes_on(time.monotonic() - began):
                    raise self._given_up(outage) from outage
                await self._pause()
            else:
                self._news.back()
                return result

    def _goes_on(self, waited_s: float) -> bool:
        if self._ending.is_set():
            return False
        return self._waits or waited_s < self._limits.again_s

    def _given_up(self, outage: Outage) -> BaseException:
        # To who waits for it without end a lost database is no failure that could be kept.
        return asyncio.CancelledError() if self._waits else outage.told()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(random.uniform(0.0, 2 * _OUTAGE_PAUSE_S)):
                await self._ending.wait()
        except TimeoutError:
            return

    async def _try(self, piece: _Piece[R], deadline: float) -> R:
        future = piece.submit(self._threads, self._transact)
        answer = asyncio.wrap_future(future)
        answer.add_done_callback(self._tell)
        limit_s = self._limits.answer_s if self._waits else max(0.0, deadline - time.monotonic())
        if not await _is_done(answer, limit_s):
            await self._cut(piece, future, answer)
        return (await answer)[0]

    async def _cut(
        self, piece: _Piece[R], future: Future[Any], answer: asyncio.Future[Any]
    ) -> None:
        """Ends a try that takes too long.

        One that can't be ended is left to itself, and then there must be no other one.
        """
        if future.cancel():
            raise Outage(Trouble.SLOW, "all its threads are busy")
        piece.held.cut()
        while not await _is_done(answer, _CUT_S):
            if not self._waits or self._ending.is_set():
                outage = Outage(Trouble.SLOW, "what began does not end")
                self._news.lost(outage)
                raise self._given_up(outage)

    def _tell(self, answer: asyncio.Future[tuple[Any, set[str]]]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._touch(answer.result()[1])

    async def forget_marks(self) -> None:
        """Drops the marks of commits that are known to have come to their end.

        Those of servers that were killed are left, few as they are, until they are so old that
        nobody can ask for them.
        """
        settled = [self._settled.popleft() for _ in range(len(self._settled))]
        old = commit_marks.c.create_ns < time.time_ns() - _OLD_MARK_NS
        gone = sa.delete(commit_marks).where(sa.or_(old, commit_marks.c.mark.in_(settled)))
        if not settled:
            return
        try:
            await self.run(lambda tx: tx.execute(gone))
        except BaseException:
            self._settled.extend(settled)
            raise

    async def close(self) -> None:
        """Waits for what runs and closes all connections."""
        self.end_patience()
        if self._under_way:
            await asyncio.wait(self._under_way)
        self._threads.shutdown(wait=False)
        self._engine.dispose()

    def _transact(self, piece: _Piece[R]) -> tuple[R, set[str]]:
        for tries_left in reversed(range(_MOST_TRIES)):
            try:
                return self._once(piece)
            except sa.exc.SQLAlchemyError as error:
                outage = outage_of(error)
                if outage is None:
                    raise
                if outage.trouble is not Trouble.MET_ANOTHER or not tries_left:
                    raise outage from error
            time.sleep(random.uniform(0.0, _MOST_PAUSE_S))
        raise AssertionError

    def _once(self, piece: _Piece[R]) -> tuple[R, set[str]]:
        in_doubt = piece.came
        with (
            self._engine.connect() as connection,
            piece.held.by(connection),
            connection.begin() as transaction,
        ):
            tx = Transaction(connection, self._clock)
            if in_doubt is not None and not _mark_first(tx, piece.mark):
                transaction.rollback()
                self._settled.append(piece.mark)
                return in_doubt
            came = piece.work(tx), tx.changed
            marked = in_doubt is not None or (self._marks and _mark_last(tx, piece.mark))
            # From here on, until the commit has answered.
            piece.came = came if marked else None
        if marked:
            self._settled.append(piece.mark)
        return came


async def _is_done(answer: asyncio.Future[Any], limit_s: float) -> bool:
    done, _ = await asyncio.wait([answer], timeout=limit_s)
    return bool(done)


def _mark_first(tx: Transaction, mark: str) -> bool:
    """Marks a transaction whose first try is in doubt; False when that one was committed.

    While that one is about to commit, this waits.
    """
    return insert_new(tx, commit_marks, {"mark": mark, "create_ns": time.time_ns()})


def _mark_last(tx: Transaction, mark: str) -> bool:
    """Marks a transaction if it has written; one that has only read may be done anew."""
    if not tx.may_have_written:
        return False
    return tx.connection.exec_driver_sql(_MARK_LAST, (mark, time.time_ns())).rowcount == 1


class _News:
    """Says once that the database is lost, and that it is back. For one event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._since: float | None = None

    def lost(self, outage: Outage) -> None:
        if self._since is None:
            self._since = time.monotonic()
            _LOG.warning("%s: %s (%s)", self._name, outage.told().message, outage.detail)

    def back(self) -> None:
        if self._since is not None:
            gone_s = time.monotonic() - self._since
            self._since = None
            _LOG.warning("%s answers again, after %.1f s", self._name, gone_s)


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


def insert_new(tx: Transaction, table: sa.Table, values: dict[str, Any]) -> bool:
    """Inserts a row unless one of its key exists; whether it did."""
    make = postgresql_insert if tx.connection.dialect.name == "postgresql" else sqlite_insert
    insert = make(table).values(**values).on_conflict_do_nothing()
    # Without it an INSERT is not counted everywhere.
    return tx.execute(insert.execution_options(preserve_rowcount=True)).rowcount == 1
