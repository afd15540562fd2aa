"""Leases in any order of events, in the real store: no device has two, no late word counts.

Agents restart, fall silent, lose answers and report twice; an operator drains and cancels.
What must hold is written down here from the outside: which (benchmark, token) was ever
given to whom, and what the store says of each now.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.plan import PlannedVariant
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.server.records import (
    TERMINAL_BENCHMARK_STATES,
    BenchmarkRecord,
    FileRecord,
    PartRecord,
    VariantRecord,
)
from edgeconv.server.scheduler import MAX_ATTEMPTS
from edgeconv.server.store.agents import AgentDevice, HeldLease, Word
from edgeconv.server.store.conversions import NewConversion, VerifiedVariant
from edgeconv.server.store.requests import Request
from edgeconv.server.store.store import Store
from edgeconv.testing.fake_clock import FakeClock

S = 1_000_000_000
MEMORY = Path("/dev/shm")
"""Where there is such a folder, nothing waits for a disk."""
DEVICES = {"north": ("n1", "n2"), "south": ("s1",)}
ALL_DEVICES = [name for names in DEVICES.values() for name in names]
OWNERS = ("model", "device", "infrastructure")
FILE = FileRecord(
    name="model.onnx", digest="sha256:" + "a" * 64, size_bytes=1,
    parts=(PartRecord(digest="sha256:" + "a" * 64, size_bytes=1),),
)  # fmt: skip
SUMMARY = BenchmarkSummary(
    percentiles=(), phases=(), user_visible_ns=1, peak_memory_bytes=1, processes=1, samples=1,
    involuntary_switches=0, verdict="stable",
)  # fmt: skip
T = TypeVar("T")


class Leases(RuleBasedStateMachine):
    """Two agents with three devices against one store."""

    empty: ClassVar[Path]
    """A database with tables and nothing in them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.held: dict[str, dict[str, int]] = {agent: {} for agent in DEVICES}
        self.starts = dict.fromkeys(DEVICES, 1)
        self.given: list[tuple[str, int]] = []
        self.ended: dict[str, str] = {}

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs one of the store's operations."""
        return self.runner.run(work)

    @initialize()
    def open(self) -> None:
        shutil.copy(self.empty, self.folder / "edgeconv.db")
        url = f"sqlite:///{self.folder / 'edgeconv.db'}"
        self.store = self.do(Store.open(url, clock=self.clock, touch=lambda _: None))
        self.do(self.store.retention.touch({FILE.digest: FILE.size_bytes}))
        self.do(self.store.executors.enter("me"))
        self.enqueue("any", 0, 4)
        self.speak("north", lost=False)

    @rule(
        selector=st.sampled_from(["any", "any", "n1", "s1", "kind=test"]),
        priority=st.integers(0, 2),
        count=st.integers(1, 3),
    )
    def enqueue(self, selector: str, priority: int, count: int) -> None:
        for _ in range(count):
            self.do(self._enqueue(selector, priority))

    async def _enqueue(self, selector: str, priority: int) -> None:
        plan = PlannedVariant(
            name="v", recipe_variant="v", target="onnx", precision="fp32", road="direct",
            steps=("s",), artifact="s", verify="v/verify",
        )  # fmt: skip
        variant = VariantRecord(
            name="v", recipe_variant="v", target="onnx", precision="fp32", plan=plan,
            state="pending",
        )  # fmt: skip
        new = NewConversion(
            "models/m/versions/1", "recipe", {}, {}, selector, {"priority": priority}, {}, [],
            [variant],
        )  # fmt: skip
        conversions = self.store.conversions
        made, _ = await conversions.create(new, Request("local", "", ""))
        attempt = await conversions.begin(made, "me")
        assert attempt is not None
        done = VerifiedVariant("v", (FILE,), "d", [], None, None)
        await conversions.variant_made(made, attempt, done)
        await conversions.finish_steps(made, attempt, samples=None, outputs=None)

    @rule(agent=st.sampled_from(sorted(DEVICES)), lost=st.booleans())
    def speak(self, agent: str, lost: bool) -> None:
        """A call, whose answer may never arrive."""
        known = set(self.given)
        held_back = {each.device for each in self._devices() if each.held}
        word = self._word(agent)
        self.do(self.store.fleet.hear(word))
        answer = self.do(self.store.fleet.answer(word))
        for record in answer.assigned:
            lease = (record.id, record.token)
            if lease not in known:
                newest = [token for benchmark, token in known if benchmark == record.id]
                assert all(token < record.token for token in newest)
                assert record.device.removeprefix("devices/") in DEVICES[agent]
                assert record.device.removeprefix("devices/") not in held_back
                self.given.append(lease)
        if lost:
            return
        for benchmark, token in answer.revoked:
            if self.held[agent].get(benchmark) == token:
                del self.held[agent][benchmark]
        for record in answer.assigned:
            self.held[agent][record.id] = record.token

    @rule(agent=st.sampled_from(sorted(DEVICES)))
    def restart(self, agent: str) -> None:
        self.starts[agent] += 1
        self.held[agent] = {}

    @rule(agent=st.sampled_from(sorted(DEVICES)))
    def leave(self, agent: str) -> None:
        self.do(self.store.fleet.hear(self._word(agent, leaving=True)))
        self.restart(agent)

    @precondition(lambda self: self.given)
    @rule(data=st.data(), owner=st.sampled_from(["", *OWNERS]))
    def report(self, data: st.DataObject, owner: Any) -> None:
        """A result under any lease that ever was, in time or late, perhaps again."""
        benchmark, token = data.draw(st.sampled_from(self.given))
        before = self._benchmark(benchmark)
        live = before.state == "leased" and before.token == token
        newest = token == max(each for name, each in self.given if name == benchmark)
        assert newest or not live
        if owner:
            error = EdgeconvError(Reason.DEVICE_FAILED, "it broke")
            taken = self.do(self.store.fleet.fail(benchmark, token, owner, error))
        else:
            taken = self.do(
                self.store.fleet.succeed(
                    benchmark, token, SUMMARY, record_digest="r", outputs_digest=""
                )
            )
        assert taken == live
        after = self._benchmark(benchmark)
        if not live:
            assert after == before
        elif not owner:
            assert after.state == "succeeded"
        elif owner == "model" or before.attempts >= MAX_ATTEMPTS:
            assert (after.state, after.failure_owner) == ("failed", owner)
        else:
            assert after.state == "queued"
            assert after.token > token

    @rule()
    def late(self) -> None:
        """Every word under every lease that is not live is refused, and changes nothing."""
        fleet, error = self.store.fleet, EdgeconvError(Reason.DEVICE_FAILED, "it broke")
        before = {each.id: each for each in self._benchmarks()}
        for benchmark, token in self.given:
            record = before[benchmark]
            if record.state == "leased" and record.token == token:
                continue
            assert not self.do(
                fleet.succeed(benchmark, token, SUMMARY, record_digest="r", outputs_digest="")
            )
            assert not self.do(fleet.fail(benchmark, token, "infrastructure", error))
        assert before == {each.id: each for each in self._benchmarks()}

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        """Files are read and sent under a live lease only."""
        benchmark, token = data.draw(st.sampled_from(self.given))
        record = self._benchmark(benchmark)
        if record.state == "leased" and record.token == token:
            assert self.do(self.store.fleet.check_lease(benchmark, token)) == record
            return
        with pytest.raises(EdgeconvError) as refused:
            self.do(self.store.fleet.check_lease(benchmark, token))
        assert refused.value.reason is Reason.LEASE_LOST

    @rule(agent=st.sampled_from(sorted(DEVICES)))
    def vanish(self, agent: str) -> None:
        """An agent is not heard until its leases are given up, and comes back anew."""
        self.clock.advance(31 * S)
        self.do(self.store.fleet.sweep(no_device_ns=10**18))
        self.restart(agent)
        self.speak(agent, lost=False)

    @rule(seconds=st.sampled_from([1, 10, 29, 31, 100]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds * S)

    @rule()
    def sweep(self) -> None:
        self.do(self.store.fleet.sweep(no_device_ns=10**18))

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        benchmark, _ = data.draw(st.sampled_from(self.given))
        assert self.do(self.store.fleet.cancel(benchmark))
        assert self._benchmark(benchmark).state in TERMINAL_BENCHMARK_STATES

    @rule(device=st.sampled_from(ALL_DEVICES), drain=st.booleans())
    def hold(self, device: str, drain: bool) -> None:
        if drain:
            self.do(self.store.fleet.drain(device, "cleaning"))
        else:
            self.do(self.store.fleet.resume(device))

    @invariant()
    def no_device_has_two_leases_and_what_has_ended_stays_so(self) -> None:
        found = self._benchmarks()
        leased = [each for each in found if each.state == "leased"]
        devices = [each.device for each in leased]
        assert len(set(devices)) == len(devices)
        for each in leased:
            assert each.token > 0
            assert each.expires_ns > 0
            assert 1 <= each.attempts <= MAX_ATTEMPTS
        for each in found:
            if each.id in self.ended:
                assert each.state == self.ended[each.id]
            elif each.state in TERMINAL_BENCHMARK_STATES:
                self.ended[each.id] = each.state

    def teardown(self) -> None:
        """Once all is well again every benchmark comes to its end."""
        if hasattr(self, "store"):
            try:
                self._finish()
            finally:
                self.do(self.store.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def _finish(self) -> None:
        self.late()
        for device in ALL_DEVICES:
            self.do(self.store.fleet.resume(device))
        rounds = MAX_ATTEMPTS * len(self._benchmarks()) + 4
        for _ in range(rounds):
            for agent in DEVICES:
                self.speak(agent, lost=False)
                for benchmark, token in list(self.held[agent].items()):
                    self.do(
                        self.store.fleet.succeed(
                            benchmark, token, SUMMARY, record_digest="r", outputs_digest=""
                        )
                    )
                    del self.held[agent][benchmark]
            if not self._open():
                return
        assert self._open() == []

    def _open(self) -> list[str]:
        return [
            each.id for each in self._benchmarks() if each.state not in TERMINAL_BENCHMARK_STATES
        ]

    def _word(self, agent: str, *, leaving: bool = False) -> Word:
        able = {"runtimes": {"onnxruntime": "1"}, "kind": "test"}
        return Word(
            agent, str(self.starts[agent]), "0",
            tuple(AgentDevice(name, able, {}) for name in DEVICES[agent]),
            tuple(HeldLease(b, token, "busy", "") for b, token in self.held[agent].items()),
            leaving, agent,
        )  # fmt: skip

    def _devices(self) -> list[Any]:
        return self.do(self.store.fleet.device_page(after="", limit=99))

    def _benchmarks(self) -> list[BenchmarkRecord]:
        return self.do(self.store.fleet.benchmark_page("", before_seq=None, limit=999))

    def _benchmark(self, benchmark: str) -> BenchmarkRecord:
        found = self.do(self.store.fleet.benchmark(benchmark))
        assert found is not None
        return found


def test_leases(tmp_path: Path) -> None:
    async def make() -> None:
        url = f"sqlite:///{tmp_path / 'empty.db'}"
        store = await Store.open(url, clock=FakeClock(), touch=lambda _: None)
        await store.close()

    asyncio.run(make())
    Leases.empty = tmp_path / "empty.db"
    run_state_machine_as_test(
        Leases,
        settings=settings(
            max_examples=10,
            stateful_step_count=22,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
