"""What becomes of a transaction whose database is lost, slow, locked or not to be written."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.store.connections import TimeLimits
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.store import Store
from edgeconv.server.store.tables import executors
from edgeconv.testing.postgresql import Cluster

QUICK = TimeLimits(connect_s=2, lock_s=0.3, statement_s=0.4, again_s=0.5, answer_s=1.0)
BOUND_S = QUICK.answer_s + 5.0
"""With what a busy machine adds."""


@pytest.fixture
def url(cluster: Cluster) -> str:
    return cluster.new_database()


@asynccontextmanager
async def _store(url: str, limits: TimeLimits = QUICK) -> AsyncIterator[Store]:
    store = await Store.open(url, touch=lambda _: None, limits=limits)
    try:
        yield store
    finally:
        await store.close()


def _play(url: str, scenario: Callable[[Store], Awaitable[None]], **limits: float) -> None:
    async def whole() -> None:
        async with _store(url, TimeLimits(**{**vars(QUICK), **limits})) as store:
            await scenario(store)

    asyncio.run(whole())


async def _unavailable(work: Awaitable[Any]) -> None:
    began = time.monotonic()
    with pytest.raises(EdgeconvError) as caught:
        await work
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert time.monotonic() - began < BOUND_S


async def _names(store: Store) -> list[str]:
    query = sa.select(executors.c.executor).order_by(executors.c.executor)
    return await store.database.run(lambda tx: [row["executor"] for row in tx.rows(query)])


def _add(name: str) -> Callable[[Transaction], int]:
    """Not to be done twice: a second time says so."""

    def work(tx: Transaction) -> int:
        tx.execute(sa.insert(executors).values(executor=name, heartbeat_ns=0, revision=""))
        return len(tx.rows(sa.select(executors)))

    return work


class Gate:
    """Stands between a server and its PostgreSQL; lets a commit's answer, or itself, get lost."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self._path = folder / ".s.PGSQL.5432"
        self._behind = cluster.folder / ".s.PGSQL.5432"
        self.lose_commit = 0
        self.lose_answer = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._serve, self._path)
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_unix_connection(self._behind)
        lost = asyncio.Event()

        async def forth() -> None:
            while data := await reader.read(65536):
                if b"COMMIT" in data and self.lose_commit:
                    self.lose_commit -= 1
                    return
                if b"COMMIT" in data and self.lose_answer:
                    self.lose_answer -= 1
                    lost.set()
                to_writer.write(data)

        async def back() -> None:
            while (data := await to_reader.read(65536)) and not lost.is_set():
                writer.write(data)

        ways = [asyncio.create_task(forth()), asyncio.create_task(back())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for stream in (writer, to_writer):
            stream.close()


@pytest.mark.parametrize("lost", ["lose_commit", "lose_answer"])
def test_a_commit_whose_answer_is_lost_is_done_once(
    tmp_path: Path, cluster: Cluster, url: str, lost: str
) -> None:
    through = url.replace(str(cluster.folder), str(tmp_path))

    async def scenario() -> None:
        gate = Gate(tmp_path, cluster)
        async with gate.open(), _store(through, TimeLimits()) as store:
            setattr(gate, lost, 3)
            tries: list[str] = []

            def work(tx: Transaction) -> int:
                tries.append("")
                return _add("one")(tx)

            assert await store.database.run(work) == 1
            # Where only the answer is lost, the second try finds that it is done.
            assert getattr(gate, lost) == (0 if lost == "lose_commit" else 2)
            assert await _names(store) == ["one"]
            assert len(tries) == (4 if lost == "lose_commit" else 1)
            # What only reads is done anew.
            gate.lose_answer = 1
            assert await _names(store) == ["one"]
            assert len(cluster.tell("SELECT * FROM commit_marks", sa.make_url(url).database)) == 1
            await store.database.forget_marks()
            await store.database.forget_marks()
            assert len(cluster.tell("SELECT * FROM commit_marks", sa.make_url(url).database)) <= 1

    asyncio.run(scenario())


def test_a_connection_that_is_killed_in_the_midst_is_replaced(cluster: Cluster, url: str) -> None:
    async def scenario(store: Store) -> None:
        tries: list[str] = []

        def work(tx: Transaction) -> int:
            count = _add("one")(tx)
            if not tries:
                tries.append("")
                own = tx.row(sa.select(sa.func.pg_backend_pid().label("pid")))
                assert own is not None
                cluster.tell(f"SELECT pg_terminate_backend({own['pid']})")
            return count + len(tx.rows(sa.select(executors)))

        assert await store.database.run(work) == 2
        assert await _names(store) == ["one"]

    _play(url, scenario, again_s=5.0, answer_s=20.0)


def test_connections_that_were_killed_while_nobody_used_them_are_not_noticed(
    cluster: Cluster, url: str
) -> None:
    async def scenario(store: Store) -> None:
        await asyncio.gather(*(store.executors.enter(name) for name in "abcdefgh"))
        name = sa.make_url(url).database
        cluster.tell(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )
        await asyncio.gather(*(store.executors.enter(name) for name in "ijkl"))
        assert await _names(store) == list("abcdefghijkl")

    _play(url, scenario, again_s=5.0, answer_s=20.0)


def test_a_database_that_is_gone_is_told_to_callers_and_waited_for_by_jobs(
    cluster: Cluster, url: str
) -> None:
    async def scenario(store: Store) -> None:
        cluster.stop()
        try:
            waiting = asyncio.gather(
                *(store.patient().database.run(_add(name)) for name in "abcdefghijkl")
            )
            await _unavailable(store.executors.enter("call"))
            await _unavailable(_names(store))
            assert not waiting.done()
        finally:
            cluster.start()
        await waiting
        assert await _names(store) == list("abcdefghijkl")

    _play(url, scenario, lock_s=5.0, statement_s=5.0)


def test_who_ends_does_not_wait_for_a_database_that_is_gone(cluster: Cluster, url: str) -> None:
    async def scenario(store: Store) -> None:
        cluster.stop()
        try:
            job = asyncio.create_task(store.patient().executors.enter("job"))
            await _unavailable(store.executors.enter("call"))
            store.end_patience()
            await asyncio.wait([job])
            assert job.cancelled()
        finally:
            cluster.start()

    _play(url, scenario)


def test_a_database_that_has_stopped_moving_holds_nobody_up(cluster: Cluster, url: str) -> None:
    async def scenario(store: Store) -> None:
        await asyncio.gather(*(store.executors.enter(name) for name in "ab"))
        frozen = cluster.processes
        for process in frozen:
            os.kill(process, signal.SIGSTOP)
        try:
            job = asyncio.create_task(store.patient().database.run(_add("job")))
            # More than there are threads.
            await asyncio.gather(
                *(_unavailable(store.executors.enter(f"{number}")) for number in range(20))
            )
            assert not job.done()
        finally:
            for process in frozen:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)
        await job
        assert "job" in await _names(store.patient())

    _play(url, scenario)


@pytest.mark.parametrize("statement", ["SELECT pg_sleep(60)", "LOCK TABLE executors"])
def test_a_statement_does_not_go_on_for_ever(cluster: Cluster, url: str, statement: str) -> None:
    engine = sa.create_engine(url)

    async def scenario(store: Store) -> None:
        with engine.connect() as other:
            other.execute(sa.text("LOCK TABLE executors"))
            await _unavailable(store.database.run(lambda tx: tx.execute(sa.text(statement))))
        await store.patient().executors.enter("later")

    _play(url, scenario, again_s=0.0)
    engine.dispose()


def test_leases_go_by_the_databases_clock(
    url: str, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(store: Store) -> None:
        before = cluster.tell("SELECT extract(epoch FROM clock_timestamp())::float8")
        # The clock of this server is an age behind.
        monkeypatch.setattr(time, "time_ns", lambda: 5)
        now_ns = await store.database.run(lambda tx: tx.now_ns)
        monkeypatch.undo()
        after = cluster.tell("SELECT extract(epoch FROM clock_timestamp())::float8")
        (first,), (last,) = before[0], after[0]
        assert isinstance(first, float)
        assert isinstance(last, float)
        assert first - 1e-3 <= now_ns / 1e9 <= last + 1e-3

    _play(url, scenario, statement_s=5.0, answer_s=10.0)


def test_sqlite_that_another_process_has_locked_is_told_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "edgeconv.db"

    async def scenario(store: Store) -> None:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        job = asyncio.create_task(store.patient().database.run(_add("job")))
        for _ in range(2):
            await _unavailable(store.executors.enter("call"))
        assert not job.done()
        other.execute("ROLLBACK")
        other.close()
        assert await job == 1

    _play(f"sqlite:///{path}", scenario)


def test_sqlite_that_may_only_be_read_says_so(tmp_path: Path) -> None:
    path = tmp_path / "edgeconv.db"

    async def write(store: Store) -> None:
        await store.executors.enter("me")

    async def refused(store: Store) -> None:
        assert await _names(store) == ["me"]
        with pytest.raises(EdgeconvError) as caught:
            await write(store)
        assert caught.value.reason is Reason.STATE_UNWRITABLE
        assert str(path) not in str(caught.value)

    _play(f"sqlite:///{path}", write)
    _play(f"sqlite:///file:{path}?mode=ro&uri=true", refused)
    with pytest.raises(EdgeconvError) as caught:
        _play(f"sqlite:///file:{tmp_path}/none/edgeconv.db?mode=ro&uri=true", refused)
    assert caught.value.reason is Reason.STATE_UNWRITABLE
    assert "none/edgeconv.db" in caught.value.message
