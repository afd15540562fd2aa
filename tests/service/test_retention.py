"""What retention removes from a running server, and what it must not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edgeconv.base.clock import SystemClock
from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.record import decode, encode
from edgeconv.results.status import from_status
from edgeconv.results.wire import job_result
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.retention.alone import check_alone, collect_alone
from edgeconv.server.retention.collector import Collector, Outcome
from edgeconv.server.retention.sweep import RetentionSettings
from edgeconv.server.store.store import Store
from edgeconv.testing.benchmark_records import make_block, make_record
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import agents_pb2, benchmarks_pb2, storage_pb2
from edgeconv.v1 import conversions_pb2 as pb

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
OTHER = "version: 1\ntargets: [tflite]\nvariants: {fp32: {}}"
Scenario = Callable[[QuickService], Coroutine[Any, Any, None]]
Play = Callable[[Scenario], None]
HOUR_NS = 3600 * 10**9


class Later(SystemClock):
    """The machine's clock, some hours ahead."""

    def __init__(self, hours: float) -> None:
        self._ahead_ns = round(hours * HOUR_NS)

    def now_ns(self) -> int:
        return super().now_ns() + self._ahead_ns


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            async with quick_service(tmp_path) as service:
                await scenario(service)

        asyncio.run(whole())

    return run


def stored(folder: Path) -> set[str]:
    """Digests of the blobs on disk."""
    top = folder / "state" / "blobs" / "sha256"
    return {f"sha256:{path.name}" for path in top.glob("*/*")}


async def collect(folder: Path, hours: float, **asked: Any) -> Outcome:
    """A collection by another server on the same store, some hours from now."""
    state = folder / "state"
    clock = Later(hours)
    store = await Store.open(
        f"sqlite:///{state / 'edgeconv.db'}", clock=clock, touch=lambda topics: None
    )
    try:
        blobs = Blobs.local(state / "blobs", store.retention.toucher())
        # Scratch is the business of the server that uses it.
        return await Collector(store, blobs, state / "none").collect(**asked)
    finally:
        await store.close()


def lines(outcome: Outcome) -> dict[tuple[str, str], int]:
    return {(each.kind.value, each.why.value): each.count for each in outcome.removed}


def test_what_was_just_sent_or_made_stays(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        await service.convert(model, ONE)
        sent = service.folder / "unused.json"
        sent.write_text("sent, and no model made of it")
        await service.client.upload([sent])
        before = stored(tmp_path)
        collected = await service.client.collect_garbage(older_than_s=0, cap_bytes=0)
        assert not collected.removed
        assert stored(tmp_path) == before
        assert collected.kept_bytes == sum(
            path.stat().st_size
            for path in (tmp_path / "state/blobs/sha256").rglob("*")
            if path.is_file()
        )
        assert collected.waiting_bytes == sent.stat().st_size
        assert collected.over_cap_bytes == collected.kept_bytes
        assert set(collected.held_bytes) == {"model version", "step result"}

    play(scenario)


def test_an_upload_that_nothing_was_made_of_goes_after_a_day_and_can_be_sent_again(
    play: Play, tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        path = service.folder / "model.json"
        path.write_text("{}")
        digest = digest_bytes(b"{}")
        await service.client.upload([path])
        assert not (await collect(tmp_path, 23)).removed
        assert lines(await collect(tmp_path, 25)) == {("upload", "sent and never used"): 1}
        assert digest not in stored(tmp_path)
        version = await service.client.create_model_version("models/m", [path])
        await service.client.wait_model_version(version.name)
        assert not (await collect(tmp_path, 1000)).removed
        assert digest in stored(tmp_path)

    play(scenario)


def test_asking_which_parts_are_missing_keeps_those_that_are_not(
    play: Play, tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        path = service.folder / "model.json"
        path.write_text("{}")
        await service.client.upload([path])
        state = tmp_path / "state"
        clock = Later(25)
        store = await Store.open(
            f"sqlite:///{state / 'edgeconv.db'}", clock=clock, touch=lambda topics: None
        )
        await store.retention.touch({digest_bytes(b"{}"): 2})
        await store.close()
        assert not (await collect(tmp_path, 25)).removed

    play(scenario)


def test_age_takes_results_and_files_of_ended_conversions_but_no_model(
    play: Play, tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        made, _ = await service.convert(model, ONE)
        before = stored(tmp_path)
        kept = await collect(tmp_path, 40, older_than_ns=41 * HOUR_NS)
        assert not kept.removed
        would = await collect(tmp_path, 40, older_than_ns=39 * HOUR_NS, dry_run=True)
        assert stored(tmp_path) == before
        did = await collect(tmp_path, 40, older_than_ns=39 * HOUR_NS)
        assert did == would
        age = "not used for longer than asked"
        assert lines(did) == {("conversion", age): 1, ("step result", age): 4}
        version = await service.client.get_model_version(model)
        assert stored(tmp_path) == {file.digest for file in version.files}
        assert did.held_bytes.keys() == {next(k for k in did.held_bytes)}
        assert did.freed_bytes > 0
        gone = await service.client.get_conversion(made.name)
        assert gone.state == pb.CONVERSION_STATE_SUCCEEDED
        assert gone.collected_time.seconds
        assert "Retention removed" in job_result(gone).notes[0].message
        variant = gone.variants[0]
        resource = f"{made.name}/variants/{variant.name}"
        for call in (
            service.client.download(resource, variant.files[0], tmp_path / "got"),
            service.client.create_benchmark(resource, "any"),
        ):
            with pytest.raises(EdgeconvError) as caught:
                await call
            assert caught.value.reason is Reason.COLLECTED
            assert model in caught.value.fix
        # Who watches it, from the start or from where he was, is told its end.
        for known in (0, 2):
            told = [event async for event in service.client.watch_conversion(made.name, known)]
            assert [event.state_changed.state for event in told] == [gone.state]
        # All of it can be made again.
        ran = len(service.journal)
        again, _ = await service.convert(model, ONE)
        assert again.state == pb.CONVERSION_STATE_SUCCEEDED
        assert service.journal[ran:] == ["reference", "direct", "verify"]
        assert again.variants[0].digest == made.variants[0].digest

    play(scenario)


def test_a_cap_takes_the_least_recently_used_first(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        older, _ = await service.convert(model, ONE)
        await service.convert(model, OTHER)
        # A download is a use.
        artifact = older.variants[0].files[0]
        resource = f"{older.name}/variants/{older.variants[0].name}"
        await service.client.download(resource, artifact, tmp_path / "got")
        cap = (await collect(tmp_path, 2, dry_run=True)).kept_bytes - 1
        outcome = await collect(tmp_path, 2, cap_bytes=cap)
        assert outcome.kept_bytes <= cap
        assert not outcome.over_cap_bytes
        assert artifact.digest in stored(tmp_path)
        everything = await collect(tmp_path, 2, cap_bytes=0)
        assert everything.over_cap_bytes == everything.kept_bytes > 0
        assert artifact.digest not in stored(tmp_path)

    play(scenario)


def test_what_a_job_works_with_stays_at_any_age(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        gate = service.folder / "gate"
        model = await service.model(gates={"direct": str(gate)})
        job = asyncio.create_task(service.convert(model, ONE))
        async with asyncio.timeout(20):
            while "direct" not in service.journal:
                await asyncio.sleep(0.01)
        await service.client.delete_model_version(model)
        before = stored(tmp_path)
        outcome = await collect(tmp_path, 1000, older_than_ns=0, cap_bytes=0)
        # The model is deleted, but the job still reads it.
        assert stored(tmp_path) == before
        assert {each.kind.value for each in outcome.removed} <= {"step result"}
        gate.touch()
        made, _ = await job
        assert made.state == pb.CONVERSION_STATE_SUCCEEDED
        await collect(tmp_path, 1000)
        version = before - stored(tmp_path)
        assert len(version) == 1, "the model's file goes once the job has ended"

    play(scenario)


def test_results_that_went_before_a_variant_refers_to_them_are_made_again(
    play: Play, tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        gate = service.folder / "gate"
        model = await service.model(gates={"verify": str(gate)})
        sent = stored(tmp_path)
        job = asyncio.create_task(service.convert(model, ONE))
        async with asyncio.timeout(20):
            while "verify" not in service.journal:
                await asyncio.sleep(0.01)
        made_so_far = stored(tmp_path) - sent
        with closing(_database(tmp_path)) as database, database:
            for digest in made_so_far:
                database.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
                _path(tmp_path, digest).unlink()
        gate.touch()
        made, events = await job
        assert made.state == pb.CONVERSION_STATE_SUCCEEDED, made
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert service.journal.count("direct") == 2
        assert made_so_far <= stored(tmp_path)
        assert not (await service.client.check_blobs()).damaged

    play(scenario)


def test_a_result_that_went_before_it_was_recorded_is_made_again(
    play: Play, tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        with closing(_database(tmp_path)) as database, database:
            database.executescript("""
                CREATE TABLE once (digest TEXT);
                CREATE TRIGGER vanish AFTER INSERT ON blobs
                WHEN NOT EXISTS (SELECT * FROM once) BEGIN
                    INSERT INTO once VALUES (NEW.digest);
                    DELETE FROM blobs WHERE digest = NEW.digest;
                END;
            """)
        made, events = await service.convert(model, ONE)
        assert made.state == pb.CONVERSION_STATE_SUCCEEDED, made
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert service.journal.count("reference") == 2
        with closing(_database(tmp_path)) as database:
            ((gone,),) = database.execute("SELECT digest FROM once").fetchall()
        assert gone in stored(tmp_path)

    play(scenario)


def test_what_is_removed_again_and_again_ends_its_conversion(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        with closing(_database(tmp_path)) as database, database:
            database.executescript("""
                CREATE TRIGGER vanish AFTER INSERT ON blobs BEGIN
                    DELETE FROM blobs WHERE digest = NEW.digest;
                END;
            """)
        made, _ = await service.convert(model, ONE)
        assert made.state == pb.CONVERSION_STATE_FAILED
        assert from_status(made.error).reason is Reason.PART_MISSING
        assert service.journal.count("reference") == 3

    play(scenario)


def _database(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "state" / "edgeconv.db", timeout=20)


def test_what_waits_for_a_device_stays_at_any_age_and_raw_samples_for_good(
    play: Play, tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        await service.convert(model, OTHER)
        made = await service.client.create_conversion(model, recipe=ONE, device_selector="any")
        async for event in service.client.watch_conversion(made.name):
            if event.state_changed.state == pb.CONVERSION_STATE_BENCHMARKING:
                break
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        files = {file.role: file.digest for file in given.files}
        await collect(tmp_path, 1000, older_than_ns=0, cap_bytes=0)
        for digest in files.values():
            assert digest_bytes(await agent.fetch(given.lease, digest)) == digest
        record = encode(make_record(make_block([10**6 + n for n in range(200)], process=0)))
        result = agents_pb2.LeaseResult(
            record_digest=await agent.upload(given.lease, "record", record),
            outputs_digest=await agent.upload(given.lease, "outputs", b"x" * 100),
        )
        await collect(tmp_path, 1000, older_than_ns=0, cap_bytes=0)
        assert {result.record_digest, result.outputs_digest} <= stored(tmp_path)
        result.ClearField("outputs_digest")
        agent.end(given.lease, result)
        await agent.synchronize()
        (benchmark,) = (await service.client.get_conversion(made.name)).variants[0].benchmarks
        assert benchmark.state == benchmarks_pb2.BENCHMARK_STATE_SUCCEEDED, benchmark
        await collect(tmp_path, 1000, older_than_ns=0, cap_bytes=0)
        version = await service.client.get_model_version(model)
        assert stored(tmp_path) == {version.files[0].digest, result.record_digest}
        raw = await service.client.get_benchmark_record(benchmark.name)
        assert decode(raw) == decode(record)

    play(scenario)


def test_what_is_done_while_another_server_collects_is_whole_or_refused(
    play: Play, tmp_path: Path
) -> None:
    """The other server's clock is hours ahead: no grace protects what is under way here."""

    async def scenario(service: QuickService) -> None:
        stop = asyncio.Event()
        removed = 0

        async def collect_on() -> None:
            nonlocal removed
            while not stop.is_set():
                removed += len((await collect(tmp_path, 30, older_than_ns=0)).removed)

        collecting = asyncio.create_task(collect_on())
        succeeded = 0
        try:
            async with asyncio.timeout(120):
                while succeeded < 4 or not removed:
                    try:
                        model = await service.model(salt=str(succeeded % 2))
                        made, _ = await service.convert(model, ONE if succeeded % 2 else OTHER)
                    except EdgeconvError as error:
                        if error.reason is Reason.PART_MISSING:
                            continue
                        raise
                    succeeded += made.state == pb.CONVERSION_STATE_SUCCEEDED
                    errors = {from_status(each.error).reason for each in made.variants}
                    assert made.state == pb.CONVERSION_STATE_SUCCEEDED or errors <= {
                        Reason.PART_MISSING, Reason.BLOB_DAMAGED,
                    }, made  # fmt: skip
                    checked = await service.client.check_blobs()
                    assert not checked.damaged
        finally:
            stop.set()
            await collecting

    play(scenario)


def test_a_server_collects_by_itself_as_its_settings_say(tmp_path: Path) -> None:
    settings = RetentionSettings(keep_for_s=0.0, first_s=0.0, every_s=0.1, grace_s=3.0)

    async def scenario() -> None:
        async with quick_service(tmp_path, retention=settings) as service:
            model = await service.model()
            made, _ = await service.convert(model, ONE)
            assert made.state == pb.CONVERSION_STATE_SUCCEEDED
            version = await service.client.get_model_version(model)
            async with asyncio.timeout(60):
                while stored(tmp_path) != {file.digest for file in version.files}:
                    await asyncio.sleep(0.05)
            assert (await service.client.get_conversion(made.name)).collected_time.seconds

    asyncio.run(scenario())


def test_leftovers_of_dead_children_and_writes_go_and_live_ones_stay(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = RetentionSettings(first_s=1000, grace_s=0.0)
        async with quick_service(tmp_path, retention=settings) as service:
            await service.model()
            scratch = tmp_path / "state" / "scratch"
            live = set(scratch.iterdir())
            assert live
            dead = scratch / "dead"
            (dead / "own").mkdir(parents=True)
            (digest,) = stored(tmp_path)
            half = _path(tmp_path, digest)
            half = half.with_name(f"{half.name}#1")
            half.write_bytes(b"half")
            assert (await service.client.collect_garbage(dry_run=True)).leftovers == 2
            assert dead.exists()
            assert (await service.client.collect_garbage()).leftovers == 2
            assert set(scratch.iterdir()) == live
            assert stored(tmp_path) == {digest}
            assert not half.exists()

    asyncio.run(scenario())


@pytest.mark.parametrize("running", [True, False])
def test_another_database_never_begins_on_these_blobs(running: bool, tmp_path: Path) -> None:
    async def other_ways_in(place: Path) -> None:
        ways: list[Callable[[], Coroutine[Any, Any, None]]] = [
            lambda: _begin(tmp_path / "new", place),
            lambda: _begin(tmp_path / "fresh", place),
            lambda: _collect_alone(tmp_path / "fresh" / "state", place),
        ]
        for way in ways:
            with pytest.raises(EdgeconvError) as caught:
                await way()
            assert caught.value.reason is Reason.BLOBS_ELSEWHERE
            assert "belongs to the database" in caught.value.message

    async def scenario() -> None:
        # A database that knows nothing of the blobs: all would go.
        await _begin(tmp_path / "fresh", tmp_path / "fresh" / "state" / "blobs")
        async with quick_service(tmp_path) as service:
            await service.model()
            if running:
                await other_ways_in(tmp_path / "state" / "blobs")
        if not running:
            await other_ways_in(tmp_path / "state" / "blobs")
        assert not (await check_alone(tmp_path / "state", None)).damaged
        assert len(stored(tmp_path)) == 1

    asyncio.run(scenario())


async def _begin(folder: Path, blobs: Path) -> None:
    async with quick_service(folder, blobs=blobs):
        pass


async def _collect_alone(state: Path, blobs: Path) -> None:
    await collect_alone(
        state, blobs, older_than_ns=0, cap_bytes=0, dry_run=False, tell=lambda done, total: None
    )


def test_negative_bounds_are_refused(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        for bounds in ({"older_than_s": -1.0}, {"cap_bytes": -1}):
            with pytest.raises(EdgeconvError) as caught:
                await service.client.collect_garbage(**bounds)  # type: ignore[arg-type]
            assert caught.value.reason is Reason.FIELD_INVALID

    play(scenario)


def test_the_wire_tells_what_was_found(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        checked = await service.client.check_blobs()
        assert (checked.blobs, list(checked.damaged)) == (1, [])
        (digest,) = stored(tmp_path)
        _path(tmp_path, digest).write_bytes(b"rotten")
        (damaged,) = (await service.client.check_blobs()).damaged
        assert isinstance(damaged, storage_pb2.DamagedBlob)
        assert (damaged.digest, list(damaged.holders)) == (digest, [model])
        assert "it has 6 bytes" in damaged.problem
        (missing,) = (await service.client.check_blobs()).damaged
        assert (missing.digest, missing.problem) == (digest, "it is missing")

    play(scenario)


def _path(folder: Path, digest: str) -> Path:
    name = digest.removeprefix("sha256:")
    return folder / "state" / "blobs" / "sha256" / name[:2] / name
