"""Removal that is tied to what was read: whatever is used or touched in between stays."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import tracemalloc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from obstore.store import LocalStore

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.records import FileRecord, PartRecord, StepOutput
from edgeconv.server.retention.collector import Collector
from edgeconv.server.retention_rules import REQUEST_NS, STEP_NS, Holder, HolderId, Kind
from edgeconv.server.store import schema, tables
from edgeconv.server.store.connections import TimeLimits
from edgeconv.server.store.conversions import NewConversion
from edgeconv.server.store.requests import Request
from edgeconv.server.store.steps import StepClaim, StepDone
from edgeconv.server.store.store import Store
from edgeconv.testing.fake_clock import FakeClock

ANYONE = Request("local", "", "")
LIMIT_S = 60.0
Scenario = Callable[[Store, FakeClock], Coroutine[Any, Any, None]]
Play = Callable[[Scenario], None]


@pytest.fixture
def play(new_database: Callable[[], str]) -> Play:
    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            clock = FakeClock()
            store = await Store.open(new_database(), clock=clock, touch=lambda topics: None)
            try:
                await store.executors.enter("me")
                await scenario(store, clock)
            finally:
                await store.close()

        asyncio.run(whole())

    return run


def _file(data: bytes) -> FileRecord:
    part = PartRecord(digest=digest_bytes(data), size_bytes=len(data))
    return FileRecord(name="f", digest=part.digest, size_bytes=len(data), parts=(part,))


async def _holders(store: Store) -> dict[HolderId, Holder]:
    return {each.id: each async for page in store.retention.holders() for each in page}


async def _step(store: Store, file: FileRecord) -> None:
    await store.retention.touch({file.digest: file.size_bytes})
    claim = await store.steps.claim("key", "step", "me")
    assert isinstance(claim, StepClaim)
    assert await store.steps.finish("key", "me", claim.token, StepOutput(files=(file,)))


def test_a_blob_that_was_touched_since_it_was_read_stays_though_the_clock_stands_still(
    play: Play,
) -> None:
    async def scenario(store: Store, clock: FakeClock) -> None:
        file = _file(b"one")
        removed: list[str] = []
        await store.retention.touch({file.digest: 3})
        await store.senders.add("somebody", file.digest, 3)
        (before,) = (await store.retention.blobs()).values()
        assert before.sent
        await store.retention.touch({file.digest: 3})
        assert not await store.retention.remove(before, removed.append)
        (now,) = (await store.retention.blobs()).values()
        assert await store.retention.remove(now, removed.append)
        assert removed == [file.digest]
        assert await store.retention.blobs() == {}
        assert await store.senders.sizes("somebody", [file.digest]) == {}

    play(scenario)


def test_bytes_that_can_not_be_removed_keep_their_row(play: Play) -> None:
    async def scenario(store: Store, clock: FakeClock) -> None:
        await store.retention.touch({_file(b"one").digest: 3})
        before = await store.retention.blobs()

        def refuse(digest: str) -> None:
            raise OSError("read-only")

        with pytest.raises(OSError, match="read-only"):
            await store.retention.remove(*before.values(), refuse)
        assert await store.retention.blobs() == before

    play(scenario)


class _SlowBlobs(Blobs):
    """On a disk that takes as long for its first removal as the test wants."""

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self.removed: list[str] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def remove(self, digest: str) -> None:
        self.removed.append(digest)
        self.begun.set()
        assert self.go_on.wait(LIMIT_S)
        super().remove(digest)


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
def test_a_removal_that_was_cut_takes_nothing_that_is_used_since(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    async def scenario() -> None:
        url, limits = new_database(), TimeLimits(answer_s=1.0)
        opened = [await Store.open(url, touch=lambda _: None, limits=limits) for _ in range(2)]
        store, other = opened[0].patient(), opened[1].patient()
        blobs = _SlowBlobs(LocalStore(tmp_path))
        files = [await asyncio.to_thread(_stored, blobs, data) for data in (b"one", b"other")]
        for file in files:
            await store.retention.touch({file.digest: file.size_bytes})
        collector = Collector(store, blobs, tmp_path / "scratch", grace_ns=0)
        collecting = asyncio.create_task(collector.collect())
        try:
            assert await asyncio.to_thread(blobs.begun.wait, LIMIT_S)
            (used,) = (file for file in files if file.digest not in blobs.removed)
            # Where a removal holds its row still, this waits until that was cut.
            await other.models.create("m", (used,), ANYONE)
        finally:
            blobs.go_on.set()
            await collecting
        assert [file for file in files if blobs.holds(file.digest)] == [used]
        assert list(await store.retention.blobs()) == [used.digest]
        for each in opened:
            await each.close()

    asyncio.run(asyncio.wait_for(scenario(), LIMIT_S))


def _stored(blobs: Blobs, data: bytes) -> FileRecord:
    return blobs.put_file(io.BytesIO(data), "f", max_bytes=len(data))


def test_nothing_refers_to_a_blob_that_is_gone(play: Play) -> None:
    async def scenario(store: Store, clock: FakeClock) -> None:
        file = _file(b"one")
        for create in (
            lambda: store.models.create("m", (file,), ANYONE),
            lambda: store.datasets.create("d", (file,), "", ANYONE),
            lambda: _step_of_gone(store, file),
        ):
            with pytest.raises(EdgeconvError) as caught:
                await create()  # type: ignore[no-untyped-call]
            assert caught.value.reason is Reason.PART_MISSING
        assert await _holders(store) == {}
        await store.retention.touch({file.digest: 3})
        await store.models.create("m", (file,), ANYONE)
        (holder,) = (await _holders(store)).values()
        assert (holder.id.kind, holder.digests) == (Kind.MODEL, {file.digest})

    play(scenario)


async def _step_of_gone(store: Store, file: FileRecord) -> None:
    claim = await store.steps.claim("other", "step", "me")
    assert isinstance(claim, StepClaim)
    await store.steps.finish("other", "me", claim.token, StepOutput(files=(file,)))


def test_a_result_that_was_used_since_it_was_read_stays(play: Play) -> None:
    async def scenario(store: Store, clock: FakeClock) -> None:
        await _step(store, _file(b"one"))
        (before,) = (await _holders(store)).values()
        clock.advance(10 * 10**9)
        claim = await store.steps.claim("key", "step", "me")
        assert isinstance(claim, StepDone)
        assert not await store.retention.retire_step(before)
        (now,) = (await _holders(store)).values()
        assert now.used_ns - before.used_ns == 10 * 10**9
        assert await store.retention.retire_step(now)
        assert await _holders(store) == {}
        await store.executors.enter("another")
        again = await store.steps.claim("key", "step", "another")
        assert again == StepClaim(1)
        assert not await store.steps.finish("key", "me", 1, StepOutput()), "an earlier worker"
        assert await store.steps.finish("key", "another", 1, StepOutput())

    play(scenario)


def test_deleted_models_hold_nothing_and_datasets_do(play: Play) -> None:
    async def scenario(store: Store, clock: FakeClock) -> None:
        file = _file(b"one")
        await store.retention.touch({file.digest: 3})
        await store.models.create("m", (file,), ANYONE)
        await store.datasets.create("d", (file,), "", ANYONE)
        await store.models.delete("m", 1)
        holders = {each.id.kind: each for each in (await _holders(store)).values()}
        assert holders[Kind.MODEL].deleted
        assert holders[Kind.DATASET].needed
        await store.datasets.delete("d")
        assert {each.kind for each in await _holders(store)} == {Kind.MODEL}

    play(scenario)


def test_steps_without_a_result_are_forgotten_when_nobody_has_claimed_them_for_a_day(
    play: Play,
) -> None:
    async def scenario(store: Store, clock: FakeClock) -> None:
        for key in ("given back", "held"):
            claim = await store.steps.claim(key, "step", "me")
            assert isinstance(claim, StepClaim)
        await store.steps.release("given back", "me", 1)
        await _step(store, _file(b"one"))
        clock.advance(STEP_NS)
        await store.retention.forget_steps(STEP_NS)
        assert await _keys(store) == {"given back", "held", "key"}
        clock.advance(1)
        await store.retention.forget_steps(STEP_NS)
        assert await _keys(store) == {"held", "key"}

    play(scenario)


async def _keys(store: Store) -> set[str]:
    rows = await store.database.run(lambda tx: tx.rows(sa.select(tables.steps.c.key)))
    return {row["key"] for row in rows}


def test_a_call_that_comes_again_after_a_day_is_a_new_one(play: Play) -> None:
    async def scenario(store: Store, clock: FakeClock) -> None:
        await store.retention.touch({_file(b"m").digest: 1})
        call = Request("local", "id", "f")
        first, _ = await store.models.create("m", (_file(b"m"),), call)
        clock.advance(REQUEST_NS)
        await store.retention.forget_requests(REQUEST_NS)
        again, new = await store.models.create("m", (_file(b"m"),), call)
        assert (again.version, new) == (first.version, False)
        clock.advance(1)
        await store.retention.forget_requests(REQUEST_NS)
        again, new = await store.models.create("m", (_file(b"m"),), call)
        assert (again.version, new) == (first.version + 1, True)

    play(scenario)


def test_of_a_conversion_whose_files_went_the_last_event_stays(play: Play) -> None:
    async def scenario(store: Store, clock: FakeClock) -> None:
        new = NewConversion("models/m/versions/1", "r", {}, {}, "none", {}, {}, [], [])
        kept, _ = await store.conversions.create(new, ANYONE)
        gone, _ = await store.conversions.create(new, ANYONE)
        for conversion in (kept, gone):
            await store.conversions.begin(conversion, "me")
            await store.conversions.cancel(conversion)
        before, _ = await store.conversions.events_after(gone, 0)
        assert len(before) == 3
        clock.advance(1)
        holder = (await _holders(store))[HolderId(Kind.CONVERSION, gone)]
        assert await store.retention.retire_conversion(holder)
        assert await store.conversions.events_after(gone, 0) == ([before[-1]], True)
        assert await store.conversions.events_after(gone, before[-1].sequence) == ([], True)
        assert len((await store.conversions.events_after(kept, 0))[0]) == 3

    play(scenario)


def test_who_looks_for_holders_reads_none_of_their_facts(play: Play) -> None:
    async def scenario(store: Store, clock: FakeClock) -> None:
        facts = {"names": ["n" * 1000] * 8000}
        inputs = {"source": {"files": [], "digest": "d", "facts": facts}}
        await store.retention.touch({_file(b"x").digest: 1})
        for place in range(3):
            claim = await store.steps.claim(f"{place}", "step", "me")
            assert isinstance(claim, StepClaim)
            output = StepOutput(files=(_file(b"x"),), facts=facts)
            assert await store.steps.finish(f"{place}", "me", claim.token, output)
            new = NewConversion("models/m/versions/1", "r", {}, inputs, "none", {}, {}, [], [])
            ended, _ = await store.conversions.create(new, ANYONE)
            await store.conversions.cancel(ended)
        await _holders(store)
        tracemalloc.start()
        try:
            found = await _holders(store)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert found[HolderId(Kind.STEP, "0")].digests == {_file(b"x").digest}
        assert peak_bytes < 4_000_000

    play(scenario)


def test_an_older_store_gets_a_row_for_every_blob_that_a_row_refers_to(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    engine = sa.create_engine(f"sqlite:///{tmp_path / 'edgeconv.db'}")
    config = Config()
    migrations = Path(schema.__file__).parent / "migrations"
    config.set_main_option("script_location", str(migrations))
    files = [_file(bytes([n])) for n in range(9)]
    dumped = [file.model_dump(mode="json") for file in files]
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        _insert(connection, "blob_senders", principal="p", digest=files[0].digest, size_bytes=1)
        _insert(connection, "model_versions", files=[dumped[1]])
        _insert(connection, "datasets", files=[dumped[2]])
        # A fact may have any name, `parts` too.
        _insert(connection, "steps", output={"files": [dumped[3]], "facts": {"parts": ["x"]}})
        _insert(connection, "conversions", inputs={"source": {"files": [dumped[4]], "facts": {}}})
        _insert(connection, "variants", files=[dumped[5]])
        _insert(connection, "benchmarks", files=[dumped[5]], samples=dumped[6], outputs=dumped[7])
        _insert(connection, "benchmark_files", file=dumped[8])
    schema.upgrade(engine)
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT digest, size_bytes FROM blobs")).all()
    assert sorted(tuple(row) for row in found) == sorted((file.digest, 1) for file in files)


def _insert(connection: sa.Connection, table: str, **given: Any) -> None:
    """A row with something of the right type in all other columns."""
    meta = sa.Table(table, sa.MetaData(), autoload_with=connection)
    values: dict[str, Any] = {}
    for column in meta.c:
        if column.name in given:
            value = given[column.name]
            values[column.name] = value if isinstance(value, str | int) else json.dumps(value)
        elif isinstance(column.type, sa.JSON):
            values[column.name] = "null" if column.nullable else "{}"
        else:
            values[column.name] = "" if isinstance(column.type, sa.Text) else 0
    names = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    connection.execute(sa.text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), values)
