"""What the store promises, whatever database it stands on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.plan import PlannedVariant
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.server.records import (
    FileRecord,
    Files,
    PartRecord,
    StepOutput,
    StepReportRecord,
    VariantRecord,
)
from edgeconv.server.store import tables
from edgeconv.server.store.agents import AgentDevice, HeldLease, Word
from edgeconv.server.store.attempts import MAX_LOST_ATTEMPTS
from edgeconv.server.store.conversions import NewConversion, VerifiedVariant
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.requests import Request
from edgeconv.server.store.steps import (
    MAX_LOST_RUNS,
    StepBusy,
    StepClaim,
    StepDone,
    StepGivenUp,
    Steps,
)
from edgeconv.server.store.store import Store
from edgeconv.testing.fake_clock import FakeClock

S = 1_000_000_000
ANYONE = Request("local", "", "")
INSPECTION = Inspection(
    format="onnx", inputs=(), outputs=(), parameters=1, weights_bytes=4, operators={"Gemm": 1}
)


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


class Case:
    """A store with a clock that is moved by hand, and what it touched."""

    def __init__(self, store: Store, clock: FakeClock, touched: list[str]) -> None:
        self.store = store
        self.clock = clock
        self.touched = touched
        self.refused: dict[str, EdgeconvError] = {}

    async def conversion(self, *names: str, selector: str = "none") -> str:
        """A conversion that is under way, in attempt 1."""
        variants = [
            VariantRecord(
                name=name, recipe_variant=name.split(".")[0], target="onnx", precision="fp32",
                plan=PlannedVariant(
                    name=name, recipe_variant=name, target="onnx", precision="fp32", road="direct",
                    steps=("s",), artifact="s", verify=f"{name}/v",
                ),
                state="pending",
            )
            for name in names or ("fp32.onnx",)
        ]  # fmt: skip
        new = NewConversion(
            "models/m/versions/1", "recipe", {}, {}, selector, {"priority": 0}, {}, [], variants
        )
        conversion, _ = await self.store.conversions.create(new, ANYONE)
        await self.store.executors.enter("me")
        assert await self.store.conversions.begin(conversion, "me") == 1
        return conversion

    async def made(self, conversion: str, name: str = "fp32.onnx", attempt: int = 1) -> bool:
        made = VerifiedVariant(name, _files(b"artifact"), "d", [], None, None)
        return await self.store.conversions.variant_made(conversion, attempt, made)

    async def measuring(self, *names: str) -> str:
        """A conversion whose variants wait for a device."""
        conversion = await self.conversion(*names, selector="any")
        for name in names or ("fp32.onnx",):
            await self.made(conversion, name)
        await self.store.conversions.finish_steps(conversion, 1, samples=None, outputs=None)
        return conversion

    async def speak(
        self, *leases: HeldLease, agent: str = "agent", incarnation: str = "1",
        devices: Iterable[str] = ("a",), leaving: bool = False, place: str = "here",
    ) -> Any:  # fmt: skip
        """An agent's word and the answer to it."""
        able = {"runtimes": {"onnxruntime": "1"}}
        word = Word(
            agent, incarnation, "0",
            tuple(AgentDevice(name, able, {}) for name in devices), leases, leaving, place,
        )  # fmt: skip
        self.refused = await self.store.fleet.hear(word)
        return await self.store.fleet.answer(word)

    async def states(self, conversion: str) -> tuple[str, list[str]]:
        view = await self.store.conversions.view(conversion)
        assert view is not None
        return view.conversion.state, [benchmark.state for benchmark in view.benchmarks]


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Case]:
    clock, touched = FakeClock(), []  # type: FakeClock, list[str]
    store = await Store.open(url, clock=clock, touch=touched.extend, lease_s=30, silence_s=30)
    for data in (b"1", b"x", b"y", b"artifact"):
        # As who stores a blob does before.
        await store.retention.touch({digest_bytes(data): len(data)})
    try:
        yield Case(store, clock, touched)
    finally:
        await store.close()


Play = Callable[[Callable[[Case], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def play(url: str) -> Play:
    def run(scenario: Callable[[Case], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            async with _opened(url) as case:
                await scenario(case)

        asyncio.run(whole())

    return run


def _files(data: bytes, name: str = "model.onnx") -> Files:
    part = PartRecord(digest=digest_bytes(data), size_bytes=len(data))
    return (FileRecord(name=name, digest=part.digest, size_bytes=len(data), parts=(part,)),)


def _held(record: Any, state: Any = "busy", message: str = "measuring") -> HeldLease:
    return HeldLease(record.id, record.token, state, message)


def test_what_was_kept_is_there_after_a_restart(url: str) -> None:
    async def first() -> None:
        async with _opened(url) as case:
            await case.store.models.create("m", _files(b"1"), ANYONE)

    async def then() -> None:
        async with _opened(url) as case:
            found = await case.store.models.get("m", 1)
            assert found is not None
            assert found.files == _files(b"1")

    asyncio.run(first())
    asyncio.run(then())


# Uploads, models, datasets.


def test_a_digest_is_known_only_for_who_sent_it(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.store.senders.add("one", "sha256:a", 3)
        await case.store.senders.add("one", "sha256:a", 3)
        assert await case.store.senders.sizes("one", ["sha256:a", "sha256:b"]) == {"sha256:a": 3}
        assert await case.store.senders.sizes("other", ["sha256:a"]) == {}

    play(scenario)


def test_versions_are_numbered_and_a_number_is_never_given_again(play: Play) -> None:
    async def scenario(case: Case) -> None:
        models = case.store.models
        for number in (1, 2):
            record, is_new = await models.create("m", _files(b"x"), ANYONE)
            assert (record.version, is_new, record.state) == (number, True, "inspecting")
        assert (await models.create("other", _files(b"x"), ANYONE))[0].version == 1
        assert await models.delete("m", 2)
        assert not await models.delete("m", 2)
        assert await models.get("m", 2) is None
        latest = await models.get("m", None)
        assert latest is not None
        assert latest.version == 1
        assert (await models.create("m", _files(b"x"), ANYONE))[0].version == 3
        assert [r.name for r in await models.page("", before_seq=None, limit=9)] == [
            "models/m/versions/3", "models/other/versions/1", "models/m/versions/1",
        ]  # fmt: skip
        first = await models.page("m", before_seq=None, limit=1)
        assert [r.version for r in await models.page("m", before_seq=first[0].seq, limit=9)] == [1]

    play(scenario)


def test_an_inspection_ends_once(play: Play) -> None:
    async def scenario(case: Case) -> None:
        models = case.store.models
        name = (await models.create("m", _files(b"x"), ANYONE))[0].name
        assert await models.inspecting() == [name]
        await case.store.executors.enter("me")
        await models.settle(name, "me", inspection=INSPECTION)
        await models.settle(name, "me", error={"reason": "INTERNAL"})
        found = await models.get("m", 1)
        assert found is not None
        assert (found.state, found.inspection, found.error) == ("ready", INSPECTION, None)
        assert await models.inspecting() == []
        assert name in case.touched

    play(scenario)


def test_a_dataset_has_its_name_alone(play: Play) -> None:
    async def scenario(case: Case) -> None:
        datasets = case.store.datasets
        await datasets.create("d", _files(b"x", "d.npz"), "", ANYONE)
        with pytest.raises(EdgeconvError) as caught:
            await datasets.create("d", _files(b"y", "d.npz"), "", ANYONE)
        assert caught.value.reason is Reason.ALREADY_EXISTS
        await case.store.executors.enter("me")
        await datasets.settle(
            "datasets/d", "me", error={"reason": "DATASET_INVALID", "message": "no"}
        )
        found = await datasets.get("d")
        assert found is not None
        assert (found.state, found.error) == (
            "rejected", {"reason": "DATASET_INVALID", "message": "no"},
        )  # fmt: skip
        assert await datasets.delete("d")
        assert await datasets.get("d") is None
        await datasets.create("d", _files(b"y", "d.npz"), "", ANYONE)

    play(scenario)


def test_the_same_call_makes_one_thing(play: Play) -> None:
    async def scenario(case: Case) -> None:
        call = Request("local", "id-1", "fingerprint")
        models, datasets = case.store.models, case.store.datasets
        first, _ = await models.create("m", _files(b"x"), call)
        again, is_new = await models.create("m", _files(b"x"), call)
        assert (again, is_new) == (first, False)
        with pytest.raises(EdgeconvError) as caught:
            await models.create("m", _files(b"y"), Request("local", "id-1", "other"))
        assert caught.value.reason is Reason.FIELD_INVALID
        assert (await models.create("m", _files(b"x"), Request("other", "id-1", "f")))[1]
        call = Request("local", "id-2", "fingerprint")
        await datasets.create("d", _files(b"x", "d.npz"), "", call)
        assert not (await datasets.create("d", _files(b"x", "d.npz"), "", call))[1]

    play(scenario)


def test_the_same_call_gives_nothing_that_was_deleted_and_makes_nothing_anew(play: Play) -> None:
    async def scenario(case: Case) -> None:
        models, datasets = case.store.models, case.store.datasets
        first, second = Request("local", "id-1", "f"), Request("local", "id-2", "f")
        await models.create("m", _files(b"x"), first)
        await models.delete("m", 1)
        await datasets.create("d", _files(b"x", "d.npz"), "", second)
        await datasets.delete("d")
        for call, name in (
            (models.create("m", _files(b"x"), first), "models/m/versions/1"),
            (datasets.create("d", _files(b"x", "d.npz"), "", second), "datasets/d"),
        ):
            with pytest.raises(EdgeconvError, match="deleted since") as caught:
                await call
            assert caught.value.reason is Reason.NOT_FOUND
            assert caught.value.metadata["name"] == name
        assert await models.get("m", None) is None
        assert (await models.create("m", _files(b"x"), ANYONE))[1]
        assert (await datasets.create("d", _files(b"x", "d.npz"), "", ANYONE))[1]

    play(scenario)


# Steps.


def test_a_step_is_claimed_once_and_its_result_remembered(play: Play) -> None:
    async def scenario(case: Case) -> None:
        steps = case.store.steps
        await case.store.executors.enter("me")
        claim = await steps.claim("k", "prune", "me")
        assert claim == StepClaim(1)
        assert await steps.claim("k", "prune", "me") == StepBusy()
        output = StepOutput(files=_files(b"x"), facts={"a": [1]}, wall_ns=7)
        assert await steps.finish("k", "me", 1, output)
        assert "steps/k" in case.touched
        assert await steps.claim("k", "prune", "me") == StepDone(output, "me", 1)
        assert await steps.output("k") == output
        await steps.forget("k", "me", 1)
        assert await steps.claim("k", "prune", "me") == StepClaim(2)

    play(scenario)


def test_a_result_that_was_made_again_is_not_forgotten_for_the_old_ones_sake(play: Play) -> None:
    async def scenario(case: Case) -> None:
        steps = case.store.steps
        for name in ("me", "other"):
            await case.store.executors.enter(name)
        await steps.claim("k", "prune", "me")
        await steps.finish("k", "me", 1, StepOutput(facts={"damaged": True}))
        # Both find it damaged; the other one is slow, and it is made again meanwhile.
        await steps.forget("k", "me", 1)
        assert await steps.claim("k", "prune", "me") == StepClaim(2)
        await steps.forget("k", "me", 1)
        whole = StepOutput(facts={"damaged": False})
        assert await steps.finish("k", "me", 2, whole)
        await steps.forget("k", "me", 1)
        # Tokens of another executor, or after retention, may be the same ones.
        await steps.forget("k", "other", 2)
        assert await steps.claim("k", "prune", "other") == StepDone(whole, "me", 2)

    play(scenario)


def test_a_claim_given_back_can_be_taken_again(play: Play) -> None:
    async def scenario(case: Case) -> None:
        steps = case.store.steps
        await case.store.executors.enter("me")
        for token in range(1, MAX_LOST_RUNS + 3):
            assert await steps.claim("k", "s", "me") == StepClaim(token)
            await steps.release("k", "me", token)

    play(scenario)


def test_a_dead_owners_step_is_taken_over_and_the_late_result_refused(play: Play) -> None:
    async def scenario(case: Case) -> None:
        steps, executors = case.store.steps, case.store.executors
        await executors.enter("dead")
        assert await steps.claim("k", "s", "dead") == StepClaim(1)
        await executors.enter("alive")
        assert await steps.claim("k", "s", "alive") == StepBusy()
        for _ in range(6):
            case.clock.advance(10 * S)
            assert await executors.beat("alive", silent_ns=59 * S)
        assert await executors.declare_dead("alive", silent_ns=61 * S) == []
        assert await executors.declare_dead("alive", silent_ns=59 * S) == ["dead"]
        assert not await executors.beat("dead", silent_ns=59 * S)
        assert await steps.claim("k", "s", "alive") == StepClaim(2)
        assert not await steps.finish("k", "dead", 1, StepOutput(facts={"late": True}))
        assert await steps.finish("k", "alive", 2, StepOutput(facts={"late": False}))
        assert (await steps.output("k")) == StepOutput(facts={"late": False})

    play(scenario)


def test_who_was_not_heard_itself_declares_nobody_dead(play: Play) -> None:
    async def scenario(case: Case) -> None:
        executors = case.store.executors
        for name in ("judge", "other"):
            await executors.enter(name)
        case.clock.advance(60 * S)
        # The database was away from all of them.
        assert await executors.declare_dead("judge", silent_ns=30 * S) == []
        assert await executors.declare_dead("nobody", silent_ns=30 * S) == []
        for _ in range(3):
            assert await executors.beat("judge", silent_ns=30 * S)
            assert await executors.declare_dead("judge", silent_ns=30 * S) == []
            case.clock.advance(10 * S)
        assert await executors.declare_dead("judge", silent_ns=30 * S) == ["other"]

    play(scenario)


def test_a_step_that_kills_its_owners_is_given_up_once(play: Play) -> None:
    async def scenario(case: Case) -> None:
        steps, executors = case.store.steps, case.store.executors
        claims = []
        for number in range(MAX_LOST_RUNS + 2):
            await executors.enter(f"e{number}")
            died = await executors.declare_others_dead(f"e{number}")
            assert died == ([f"e{number - 1}"] if number else [])
            claims.append(await steps.claim("k", "s", f"e{number}"))
        assert [type(claim) for claim in claims] == [
            *[StepClaim] * MAX_LOST_RUNS, StepGivenUp, StepClaim,
        ]  # fmt: skip

    play(scenario)


def test_only_one_of_many_gets_a_step(play: Play) -> None:
    async def scenario(case: Case) -> None:
        for name in "abcdefgh":
            await case.store.executors.enter(name)
        claims = await asyncio.gather(
            *(case.store.steps.claim("k", "s", name) for name in "abcdefgh")
        )
        assert sorted(type(claim).__name__ for claim in claims) == ["StepBusy"] * 7 + ["StepClaim"]

    play(scenario)


def test_what_a_dead_executor_held_is_free_when_it_is_dead(play: Play) -> None:
    async def scenario(case: Case) -> None:
        steps, executors = case.store.steps, case.store.executors
        for name in ("dead", "alive"):
            await executors.enter(name)
            await steps.claim(f"of {name}", "s", name)
        case.touched.clear()
        assert await executors.declare_others_dead("alive") == ["dead"]
        assert await _running(case) == {"of alive": "alive"}
        # Who waits for the step is told, and need not look again and again.
        assert "steps/of dead" in case.touched
        assert not await steps.finish("of dead", "dead", 1, StepOutput(facts={"late": True}))

    play(scenario)


def test_what_an_executor_holds_at_its_orderly_end_is_free_and_no_lost_run(play: Play) -> None:
    async def scenario(case: Case) -> None:
        for number in range(MAX_LOST_RUNS + 2):
            await case.store.executors.enter(f"e{number}")
            claim = await case.store.steps.claim("k", "s", f"e{number}")
            assert claim == StepClaim(number + 1)
            await case.store.executors.retire(f"e{number}")
            assert await _running(case) == {}

    play(scenario)


def test_a_new_executor_frees_what_an_older_server_left_with_the_dead(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.store.executors.enter("dead")
        await case.store.steps.claim("k", "s", "dead")
        # As code does that knows nothing of steps.
        await case.store.database.run(lambda tx: tx.execute(sa.delete(tables.executors)))
        await case.store.executors.enter("new")
        assert await _running(case) == {}

    play(scenario)


def test_who_does_not_live_gets_and_ends_nothing(play: Play) -> None:
    async def scenario(case: Case) -> None:
        store = case.store
        conversion = await case.conversion()
        model = (await store.models.create("m", _files(b"x"), ANYONE))[0].name
        await store.datasets.create("d", _files(b"x", "d.npz"), "", ANYONE)
        await store.executors.declare_others_dead("judge")
        for refused in (
            store.steps.claim("k", "s", "me"),
            store.conversions.begin(conversion, "me"),
            store.models.settle(model, "me", inspection=INSPECTION),
            store.datasets.settle("datasets/d", "me", error={"reason": "INTERNAL"}),
        ):
            with pytest.raises(EdgeconvError) as caught:
                await refused
            assert caught.value.reason is Reason.DECLARED_DEAD
        assert await _running(case) == {}
        view = await store.conversions.view(conversion)
        assert view is not None
        assert view.conversion.attempt == 1
        assert await store.models.inspecting() == [model]
        assert await store.datasets.inspecting() == ["datasets/d"]

    play(scenario)


def test_the_attempt_of_who_does_not_live_ends_nothing_before_another_has_begun(
    play: Play,
) -> None:
    async def scenario(case: Case) -> None:
        conversions = case.store.conversions
        conversion = await case.conversion()
        await case.store.executors.declare_others_dead("judge")
        before = await conversions.view(conversion)
        for write in _writes_of_attempt_1(case, conversion):
            with pytest.raises(EdgeconvError) as caught:
                await write
            assert caught.value.reason is Reason.DECLARED_DEAD
        assert await conversions.view(conversion) == before
        await case.store.executors.enter("other")
        assert await conversions.begin(conversion, "other") == 2
        for write in _writes_of_attempt_1(case, conversion):
            assert not await write
        assert await case.made(conversion, attempt=2)
        assert await conversions.finish_steps(conversion, 2, samples=None, outputs=None)
        assert (await case.states(conversion))[0] == "succeeded"

    play(scenario)


def _writes_of_attempt_1(case: Case, conversion: str) -> list[Coroutine[Any, Any, bool]]:
    """Everything that a job writes about its conversion."""
    conversions = case.store.conversions
    error = EdgeconvError(Reason.DISK_FULL, "no room")
    report = StepReportRecord(id="s", key="k", wall_ns=5, peak_memory_bytes=6, reused=False)
    body = {"step": "s", "change": "done", "message": "", "wall_ns": 5}
    note = {"kind": "flagged", "subject": "walls", "message": "none"}
    return [
        conversions.note(conversion, 1, note),
        conversions.step_changed(conversion, 1, body),
        conversions.step_ended(conversion, 1, report, body),
        conversions.fail_variants(conversion, 1, {"fp32.onnx": error.to_json()}),
        case.made(conversion),
        conversions.finish_steps(conversion, 1, samples=None, outputs=None),
        conversions.fail(conversion, 1, error),
    ]


def test_a_lost_claim_is_told_though_its_result_was_removed_meanwhile(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.store.executors.enter("dead")
        claim = await case.store.steps.claim("k", "s", "dead")
        assert isinstance(claim, StepClaim)
        await case.store.executors.declare_others_dead("judge")
        gone = StepOutput(files=_files(b"never stored"))
        assert not await case.store.steps.finish("k", "dead", claim.token, gone)

    play(scenario)


def test_a_claim_under_way_while_its_owner_is_declared_dead_leaves_nothing_held(
    url: str,
) -> None:
    async def scenario() -> None:
        async with _opened(url) as one, _opened(url) as other:
            claimed, go_on = threading.Event(), threading.Event()
            await one.store.executors.enter("me")

            def claim(tx: Transaction) -> object:
                found = Steps.claim.__wrapped__(one.store.steps, tx, "k", "s", "me")  # type: ignore[attr-defined]
                claimed.set()
                assert go_on.wait(20)
                return found

            claiming = asyncio.create_task(one.store.database.run(claim))
            await asyncio.to_thread(claimed.wait, 20)
            dying = asyncio.create_task(other.store.executors.declare_others_dead("judge"))
            # On SQLite it waits for the claim; on PostgreSQL it may end before it.
            await asyncio.wait([dying], timeout=0.2)
            go_on.set()
            assert await dying == ["me"]
            await asyncio.wait([claiming])
            assert await _running(other) == {}

    asyncio.run(scenario())


async def _running(case: Case) -> dict[str, str]:
    """Steps that are held, with who holds each."""
    held = sa.select(tables.steps).where(tables.steps.c.state == "running")
    rows = await case.store.database.run(lambda tx: tx.rows(held))
    return {row["key"]: row["owner"] for row in rows}


def test_a_nul_in_what_a_device_says_is_seen_whatever_the_database(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.measuring()
        (given,) = (await case.speak()).assigned
        await case.speak(_held(given, message="at a\0b"))
        device = await case.store.fleet.device("a")
        assert device is not None
        assert device.reason == "at a\\x00b"
        # As JSON it is kept as it was said.
        error = EdgeconvError(Reason.DEVICE_FAILED, "name\0d")
        assert await case.store.fleet.fail(given.id, given.token, "device", error)

    play(scenario)


# Conversions.


def test_events_have_no_gap_and_end_with_the_terminal_state(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversions = case.store.conversions
        conversion = await case.conversion("fp32.onnx", "int8.onnx")
        await conversions.step_changed(
            conversion, 1, {"step": "s", "change": "started", "message": "", "wall_ns": 0}
        )
        report = StepReportRecord(id="s", key="k", wall_ns=5, peak_memory_bytes=6, reused=False)
        ended = {"step": "s", "change": "done", "message": "", "wall_ns": 5}
        assert await conversions.step_ended(conversion, 1, report, ended)
        assert await conversions.step_ended(conversion, 1, report, ended)
        await case.made(conversion)
        await conversions.fail_variants(conversion, 1, {"int8.onnx": {"message": "no"}})
        assert await conversions.finish_steps(conversion, 1, samples=None, outputs=None)
        events, ended_now = await conversions.events_after(conversion, 0)
        assert ended_now
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        told = [(each.kind, each.body.get("state", each.body.get("change"))) for each in events]
        assert told == [
            ("state_changed", "queued"), ("state_changed", "converting"),
            ("step_changed", "started"), ("step_changed", "done"),
            ("variant_changed", "verified"), ("variant_changed", "failed"),
            ("state_changed", "partly_succeeded"),
        ]  # fmt: skip
        rest, ended_now = await conversions.events_after(conversion, 3, limit=2)
        assert ([event.sequence for event in rest], ended_now) == ([4, 5], False)
        view = await conversions.view(conversion)
        assert view is not None
        assert view.steps == [report]
        assert view.conversion.end_ns == case.clock.now_ns()

    play(scenario)


def test_many_writers_leave_no_gap(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.conversion()
        body = {"step": "s", "change": "started", "message": "", "wall_ns": 0}
        await asyncio.gather(
            *(case.store.conversions.step_changed(conversion, 1, body) for _ in range(50))
        )
        events, _ = await case.store.conversions.events_after(conversion, 0)
        assert [event.sequence for event in events] == list(range(1, 53))

    play(scenario)


def test_a_newer_attempt_makes_the_older_ones_words_void(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversions = case.store.conversions
        conversion = await case.conversion()
        assert await conversions.unfinished() == [conversion]
        assert await conversions.begin(conversion, "me") == 2
        body = {"step": "s", "change": "started", "message": "", "wall_ns": 0}
        error = EdgeconvError(Reason.INTERNAL, "late")
        assert not await conversions.step_changed(conversion, 1, body)
        assert not await case.made(conversion, attempt=1)
        assert not await conversions.fail_variants(conversion, 1, {"fp32.onnx": {}})
        assert not await conversions.fail(conversion, 1, error)
        assert not await conversions.finish_steps(conversion, 1, samples=None, outputs=None)
        assert await case.made(conversion, attempt=2)
        assert await conversions.finish_steps(conversion, 2, samples=None, outputs=None)
        assert (await case.states(conversion))[0] == "succeeded"
        assert await conversions.begin(conversion, "me") is None
        assert await conversions.unfinished() == []

    play(scenario)


async def _lose_attempts(case: Case, conversion: str, count: int) -> list[int | None]:
    """Begins attempts whose executors die; what each begin gave."""
    begun = []
    for number in range(count):
        name = f"{number}-of-{count}"
        await case.store.executors.enter(name)
        begun.append(await case.store.conversions.begin(conversion, name))
        await case.store.executors.declare_others_dead("judge")
    return begun


def test_a_conversion_whose_executors_die_over_it_ends_with_that_reason(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.conversion()
        begun = await _lose_attempts(case, conversion, MAX_LOST_ATTEMPTS)
        assert begun == list(range(2, MAX_LOST_ATTEMPTS + 2))
        await case.store.executors.enter("last")
        assert await case.store.conversions.begin(conversion, "last") is None
        ended = await case.store.conversions.get(conversion)
        assert ended is not None
        assert ended.state == "failed"
        assert ended.error is not None
        assert ended.error["reason"] == "LIMIT_EXCEEDED"
        assert f"{MAX_LOST_ATTEMPTS} times in a row" in ended.error["message"]

    play(scenario)


@pytest.mark.parametrize("way", ["a step ended", "variants failed", "ended in order", "taken over"])
def test_attempts_that_brought_it_on_or_were_left_in_order_do_not_count(
    play: Play, way: str
) -> None:
    async def scenario(case: Case) -> None:
        store = case.store
        conversion = await case.conversion()
        await _lose_attempts(case, conversion, MAX_LOST_ATTEMPTS - 1)
        await store.executors.enter("next")
        attempt = await store.conversions.begin(conversion, "next")
        assert attempt is not None
        if way == "a step ended":
            report = StepReportRecord(id="s", key="k", wall_ns=1, peak_memory_bytes=1, reused=False)
            assert await store.conversions.step_ended(conversion, attempt, report, {})
        elif way == "variants failed":
            error = EdgeconvError(Reason.LIMIT_EXCEEDED, "given up").to_json()
            assert await store.conversions.fail_variants(conversion, attempt, {"other": error})
        elif way == "ended in order":
            await store.executors.retire("next")
        if way != "taken over":
            await store.executors.declare_others_dead("judge")
        await store.executors.enter("last")
        assert await store.conversions.begin(conversion, "last") == attempt + 1

    play(scenario)


def test_a_terminal_state_is_written_once(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversions = case.store.conversions
        conversion = await case.conversion()
        assert await conversions.cancel(conversion)
        assert not await conversions.cancel(conversion)
        assert not await case.made(conversion)
        assert not await conversions.fail(conversion, 1, EdgeconvError(Reason.INTERNAL, "late"))
        view = await conversions.view(conversion)
        assert view is not None
        assert (view.conversion.state, view.variants[0].state) == ("cancelled", "cancelled")
        with pytest.raises(EdgeconvError) as caught:
            await conversions.cancel("nobody")
        assert caught.value.reason is Reason.NOT_FOUND

    play(scenario)


def test_a_conversion_that_failed_as_a_whole_fails_its_open_variants(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.conversion("a.onnx", "b.onnx")
        await case.store.conversions.fail(conversion, 1, EdgeconvError(Reason.BLOB_DAMAGED, "gone"))
        view = await case.store.conversions.view(conversion)
        assert view is not None
        assert view.conversion.state == "failed"
        assert (view.conversion.error or {})["reason"] == "BLOB_DAMAGED"
        assert {variant.state for variant in view.variants} == {"failed"}

    play(scenario)


# Benchmarks, leases, devices.


def test_the_last_benchmark_ends_the_conversion(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.measuring("a.onnx", "b.onnx")
        assert await case.states(conversion) == ("benchmarking", ["queued", "queued"])
        for left in ("benchmarking", "succeeded"):
            (lease,) = (await case.speak()).assigned
            assert lease.device == "devices/a"
            assert await case.store.fleet.succeed(
                lease.id, lease.token, BenchmarkSummary(samples=3),
                record_digest="r", outputs_digest="",
            )  # fmt: skip
            assert (await case.states(conversion))[0] == left
        events, ended = await case.store.conversions.events_after(conversion, 0)
        assert ended
        assert events[-1].body == {"state": "succeeded"}
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))

    play(scenario)


def test_an_answer_that_was_lost_is_given_again_and_lives_on_by_heartbeats(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.measuring()
        (lease,) = (await case.speak()).assigned
        assert (await case.speak()).assigned == [lease]
        for _ in range(4):
            case.clock.advance(20 * S)
            answer = await case.speak(_held(lease))
            assert (answer.assigned, answer.revoked) == ([], [])
            await case.store.fleet.sweep(no_device_ns=10**18)
        device = await case.store.fleet.device("a")
        assert device is not None
        assert (device.state, device.reason, device.benchmark) == ("busy", "measuring", lease.id)

    play(scenario)


def test_a_lease_without_a_heartbeat_goes_back_and_the_late_result_is_refused(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.measuring()
        (lease,) = (await case.speak()).assigned
        case.clock.advance(31 * S)
        await case.store.fleet.sweep(no_device_ns=10**18)
        assert await case.states(conversion) == ("benchmarking", ["queued"])
        device = await case.store.fleet.device("a")
        assert device is not None
        assert device.state == "offline"
        with pytest.raises(EdgeconvError) as caught:
            await case.store.fleet.check_lease(lease.id, lease.token)
        assert caught.value.reason is Reason.LEASE_LOST
        (again,) = (await case.speak(agent="second", devices=["b"])).assigned
        assert (again.id, again.device) == (lease.id, "devices/b")
        assert again.token > lease.token
        assert not await case.store.fleet.succeed(
            lease.id, lease.token, BenchmarkSummary(), record_digest="late", outputs_digest=""
        )
        answer = await case.speak(_held(lease))
        assert answer.revoked == [(lease.id, lease.token)]
        assert await case.store.fleet.check_lease(again.id, again.token)

    play(scenario)


@pytest.mark.parametrize("how", [{"incarnation": "2"}, {"leaving": True}])
def test_an_agent_that_starts_anew_or_leaves_gives_its_leases_back(
    play: Play, how: dict[str, Any]
) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.measuring()
        (lease,) = (await case.speak()).assigned
        answer = await case.speak(**how)
        if how.get("leaving"):
            assert answer.assigned == []
            assert await case.states(conversion) == ("benchmarking", ["queued"])
        else:
            (again,) = answer.assigned
            assert again.token > lease.token

    play(scenario)


def test_a_lost_benchmark_is_tried_so_often_and_no_oftener(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.measuring()
        for attempt in range(3):
            ((lease),) = (await case.speak(incarnation=str(attempt))).assigned
            assert lease.attempts == attempt + 1
        assert (await case.speak(incarnation="last")).assigned == []
        state, (benchmark,) = await case.states(conversion)
        assert (state, benchmark) == ("partly_succeeded", "failed")

    play(scenario)


@pytest.mark.parametrize(
    ("owner", "states"),
    [("model", ["failed"]), ("device", ["queued"]), ("infrastructure", ["queued"])],
)
def test_a_failure_is_tried_again_unless_it_is_the_models(
    play: Play, owner: Any, states: list[str]
) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.measuring()
        (lease,) = (await case.speak()).assigned
        error = EdgeconvError(Reason.RUNTIME_REFUSED, "no such operator")
        assert await case.store.fleet.fail(lease.id, lease.token, owner, error)
        assert not await case.store.fleet.fail(lease.id, lease.token, owner, error)
        assert (await case.states(conversion))[1] == states
        record = await case.store.fleet.benchmark(lease.id)
        assert record is not None
        assert record.failed_on == (("a",) if owner == "device" else ())
        assert record.failure_owner == ("model" if owner == "model" else "")

    play(scenario)


def test_a_device_that_fails_in_a_row_is_quarantined_until_resumed(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.measuring("a.onnx")
        await case.measuring("b.onnx")
        error = EdgeconvError(Reason.DEVICE_FAILED, "no answer")
        for _ in range(3):
            (lease,) = (await case.speak()).assigned
            await case.store.fleet.fail(lease.id, lease.token, "device", error)
        assert (await case.speak()).assigned == []
        device = await case.store.fleet.device("a")
        assert device is not None
        assert device.state == "quarantined"
        assert "no answer" in device.reason
        resumed = await case.store.fleet.resume("a")
        assert resumed is not None
        assert (resumed.state, resumed.failures_in_row) == ("idle", 0)
        assert len((await case.speak()).assigned) == 1

    play(scenario)


def test_a_success_between_failures_keeps_a_device_out_of_quarantine(play: Play) -> None:
    async def scenario(case: Case) -> None:
        for number in range(5):
            await case.measuring(f"v{number}.onnx")
        error = EdgeconvError(Reason.DEVICE_FAILED, "no answer")
        for number in range(4):
            (lease,) = (await case.speak()).assigned
            if number == 1:
                await case.store.fleet.succeed(
                    lease.id, lease.token, BenchmarkSummary(), record_digest="", outputs_digest=""
                )
            else:
                await case.store.fleet.fail(lease.id, lease.token, "device", error)
        await case.speak()
        device = await case.store.fleet.device("a")
        assert device is not None
        assert device.failures_in_row == 2
        assert device.held == ""

    play(scenario)


def test_a_draining_device_ends_what_it_holds_and_gets_nothing_more(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.measuring("a.onnx", "b.onnx")
        (lease,) = (await case.speak()).assigned
        await case.store.fleet.drain("a", "new disk")
        answer = await case.speak(_held(lease))
        assert (answer.assigned, answer.revoked, answer.draining) == ([], [], ["devices/a"])
        await case.store.fleet.succeed(
            lease.id, lease.token, BenchmarkSummary(), record_digest="", outputs_digest=""
        )
        assert (await case.speak()).assigned == []
        device = await case.store.fleet.device("a")
        assert device is not None
        assert (device.state, device.reason) == ("draining", "new disk")
        case.clock.advance(60 * S)
        await case.store.fleet.sweep(no_device_ns=10**18)
        await case.speak()
        device = await case.store.fleet.device("a")
        assert device is not None
        assert device.state == "draining"
        assert await case.store.fleet.drain("nobody", "") is None

    play(scenario)


def test_a_cancelled_benchmark_is_revoked_and_its_device_free_when_dropped(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.measuring("a.onnx", "b.onnx")
        (lease,) = (await case.speak()).assigned
        assert await case.store.conversions.cancel(conversion)
        assert await case.states(conversion) == ("cancelled", ["cancelled", "cancelled"])
        other = await case.measuring("c.onnx")
        answer = await case.speak(_held(lease))
        assert (answer.assigned, answer.revoked) == ([], [(lease.id, lease.token)])
        (next_one,) = (await case.speak()).assigned
        assert next_one.conversion == other

    play(scenario)


def test_a_benchmark_that_nothing_could_run_says_so_and_then_fails(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.measuring()
        await case.store.fleet.sweep(no_device_ns=60 * S)
        view = await case.store.conversions.view(conversion)
        assert view is not None
        assert "no registered device" in view.benchmarks[0].waiting_reason
        case.clock.advance(61 * S)
        await case.store.fleet.sweep(no_device_ns=60 * S)
        view = await case.store.conversions.view(conversion)
        assert view is not None
        assert (view.benchmarks[0].error or {})["reason"] == "NO_DEVICE"
        assert view.conversion.state == "partly_succeeded"

    play(scenario)


def test_a_benchmark_waits_for_a_device_that_is_only_offline(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.speak()
        conversion = await case.measuring()
        case.clock.advance(3600 * S)
        await case.store.fleet.sweep(no_device_ns=60 * S)
        assert await case.states(conversion) == ("benchmarking", ["queued"])
        assert len((await case.speak()).assigned) == 1

    play(scenario)


def test_an_idle_agents_look_reads_its_own_devices_only(play: Play) -> None:
    async def scenario(case: Case) -> None:
        for agent in "abc":
            await case.speak(agent=agent, devices=[agent])
        ran: list[str] = []
        engine = case.store.database.engine
        sa.event.listen(engine, "before_cursor_execute", lambda *said: ran.append(said[2]))
        word = Word("a", "1", "0", (), (), False, "here")
        assert (await case.store.fleet.answer(word)).assigned == []
        reads = [sql for sql in ran if "FROM devices" in sql]
        assert reads
        assert all("WHERE devices.agent =" in sql for sql in reads)

    play(scenario)


def test_two_live_agents_cannot_have_one_device(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.speak(agent="one")
        await case.speak(agent="two")
        assert case.refused["devices/a"].reason is Reason.ALREADY_EXISTS
        assert "'one'" in case.refused["devices/a"].message
        case.clock.advance(60 * S)
        await case.store.fleet.sweep(no_device_ns=10**18)
        await case.speak(agent="two")
        assert case.refused == {}
        device = await case.store.fleet.device("a")
        assert device is not None
        assert device.agent == "two"

    play(scenario)


def test_a_device_that_another_has_costs_an_agent_nothing_of_its_own(play: Play) -> None:
    async def scenario(case: Case) -> None:
        conversion = await case.measuring()
        (given,) = (await case.speak(devices=["own"])).assigned
        await case.speak(agent="other", devices=["a"])
        # Its heartbeats count, and so does what it says of its own device.
        for _ in range(3):
            case.clock.advance(20 * S)
            await case.speak(agent="other", devices=["a"])
            answer = await case.speak(_held(given), devices=["a", "own"])
            assert list(case.refused) == ["devices/a"]
            assert (answer.revoked, answer.assigned) == ([], [])
            await case.store.fleet.sweep(no_device_ns=10**18)
        assert await case.states(conversion) == ("benchmarking", ["leased"])
        own = await case.store.fleet.device("own")
        other = await case.store.fleet.device("a")
        assert own is not None
        assert other is not None
        assert (own.state, own.agent) == ("busy", "agent")
        assert other.agent == "other"

    play(scenario)


def test_a_copied_agent_is_refused_until_the_first_is_gone(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.measuring()
        (given,) = (await case.speak()).assigned
        case.clock.advance(10 * S)
        for incarnation in ("2", "3"):
            with pytest.raises(EdgeconvError, match="heard 10 s ago") as caught:
                await case.speak(incarnation=incarnation, place="there", devices=("b",))
            assert caught.value.reason is Reason.ALREADY_EXISTS
            assert "state folder" in caught.value.fix
        # The first one lost nothing by it.
        held = HeldLease(given.id, given.token, "busy", "")
        assert not (await case.speak(held)).revoked
        assert await case.store.fleet.device("b") is None
        # When the first has been silent for long, the other is believed, and the first not.
        case.clock.advance(31 * S)
        (again,) = (await case.speak(incarnation="2", place="there")).assigned
        assert again.id == given.id
        assert again.token > given.token
        with pytest.raises(EdgeconvError, match="up elsewhere"):
            await case.speak(held)

    play(scenario)


def test_a_restarted_agent_takes_over_at_once_and_one_that_left_makes_room(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.measuring()
        (given,) = (await case.speak()).assigned
        (again,) = (await case.speak(incarnation="2")).assigned
        assert again.token > given.token
        await case.speak(incarnation="2", leaving=True)
        (moved,) = (await case.speak(incarnation="3", place="there")).assigned
        assert moved.token > again.token

    play(scenario)


def test_a_device_that_holds_a_benchmark_is_not_forgotten(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.measuring()
        (lease,) = (await case.speak()).assigned
        with pytest.raises(EdgeconvError) as caught:
            await case.store.fleet.forget("a")
        assert caught.value.reason is Reason.NOT_READY
        await case.store.fleet.cancel(lease.id)
        await case.speak()
        assert await case.store.fleet.forget("a")
        assert not await case.store.fleet.forget("a")

    play(scenario)


def test_many_agents_never_get_the_same_benchmark(play: Play) -> None:
    async def scenario(case: Case) -> None:
        await case.measuring(*(f"v{number}.onnx" for number in range(5)))
        answers = await asyncio.gather(
            *(case.speak(agent=f"agent{n}", devices=[f"d{n}"]) for n in range(8))
        )
        given = [record.id for answer in answers for record in answer.assigned]
        assert len(given) == len(set(given)) == 5

    play(scenario)


@pytest.mark.parametrize("pause_s", [0.0, 0.002])
def test_a_cancelled_caller_does_not_undo_or_hide_what_was_committed(
    play: Play, pause_s: float
) -> None:
    async def scenario(case: Case) -> None:
        name = (await case.store.models.create("m", _files(b"x"), ANYONE))[0].name
        await case.store.executors.enter("me")
        case.touched.clear()
        write = asyncio.create_task(case.store.models.settle(name, "me", inspection=INSPECTION))
        await asyncio.sleep(pause_s)
        write.cancel()
        await asyncio.wait([write])
        # What had not begun is taken back; the rest may end after its caller.
        async with asyncio.timeout(30):
            while True:
                found = await case.store.models.get("m", 1)
                assert found is not None
                if (found.state == "ready") is (name in case.touched):
                    break
                await asyncio.sleep(0.01)

    play(scenario)
