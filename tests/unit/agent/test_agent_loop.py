"""The agent's decisions, one by one, and under any order of events."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from edgeconv.agent import loop
from edgeconv.agent.loop import AgentState, Stage, advance
from edgeconv.agent.work import Assignment, Failure, Lease, Result, ResultFiles
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.failure import FailureOwner

LEASE_NS = 1000
FILES = ResultFiles(Path("record.json"), None)
FAILURE = Failure(EdgeconvError(Reason.DEVICE_FAILED, "no"), FailureOwner.DEVICE)


def assignment(benchmark: str = "b", token: int = 1, device: str = "devices/d") -> Assignment:
    return Assignment(Lease(benchmark, token), LEASE_NS, device, "onnx", ())


def after(*events: loop.Event, state: AgentState | None = None) -> AgentState:
    state = state or AgentState()
    for event in events:
        state, _ = advance(state, event)
    return state


def given(*assignments: Assignment, at_ns: int = 0) -> loop.Answered:
    return loop.Answered(asked_ns=at_ns, assignments=assignments)


LEASE = assignment().lease
TO_STAGE: dict[Stage, tuple[loop.Event, ...]] = {
    Stage.FETCHING: (given(assignment()),),
    Stage.MEASURING: (given(assignment()), loop.Fetched(LEASE)),
    Stage.UPLOADING: (given(assignment()), loop.Fetched(LEASE), loop.Measured(LEASE, FILES)),
    Stage.REPORTING: (given(assignment()), loop.Failed(LEASE, FAILURE)),
    Stage.READY: (
        given(assignment("other"), assignment()),
        loop.Fetched(Lease("other", 1)),
        loop.Fetched(LEASE),
    ),
}
HAPPENED: dict[str, loop.Event] = {
    "fetched": loop.Fetched(LEASE),
    "measured": loop.Measured(LEASE, FILES),
    "uploaded": loop.Uploaded(LEASE, Result("sha256:r")),
    "failed": loop.Failed(LEASE, FAILURE),
}
LEGAL = {
    (Stage.FETCHING, "fetched"): Stage.MEASURING,
    (Stage.FETCHING, "failed"): Stage.REPORTING,
    (Stage.MEASURING, "measured"): Stage.UPLOADING,
    (Stage.MEASURING, "failed"): Stage.REPORTING,
    (Stage.UPLOADING, "uploaded"): Stage.REPORTING,
    (Stage.UPLOADING, "failed"): Stage.REPORTING,
}


@pytest.mark.parametrize("happened", HAPPENED)
@pytest.mark.parametrize("stage", Stage)
def test_an_event_moves_its_lease_or_leaves_the_state_as_it_is(stage: Stage, happened: str) -> None:
    state = after(*TO_STAGE[stage])
    held = state.find(LEASE)
    assert held is not None
    assert held.stage is stage
    moved, actions = advance(state, HAPPENED[happened])
    found = moved.find(LEASE)
    if (stage, happened) in LEGAL:
        assert found is not None
        assert found.stage is LEGAL[stage, happened]
    else:
        assert moved == state
        assert actions == ()


@pytest.mark.parametrize("happened", HAPPENED)
def test_an_event_of_an_unknown_lease_is_nothing(happened: str) -> None:
    state = after(given(assignment(token=2)))
    assert advance(state, HAPPENED[happened]) == (state, ())


def test_a_lease_is_worked_on_from_fetch_to_acknowledgement() -> None:
    state, actions = advance(AgentState(), given(assignment()))
    assert actions == (loop.Fetch(assignment()), loop.Speak())
    state, actions = advance(state, loop.Fetched(LEASE))
    assert actions == (loop.Measure(assignment()),)
    state, actions = advance(state, loop.Measured(LEASE, FILES))
    assert actions == (loop.Upload(assignment(), FILES),)
    state, actions = advance(state, loop.Uploaded(LEASE, Result("sha256:r", "sha256:o")))
    assert actions == (loop.Speak(),)
    assert state.held[0].result == Result("sha256:r", "sha256:o")
    state, actions = advance(state, loop.Answered(0, acknowledged=frozenset({LEASE})))
    assert (state, actions) == (AgentState(), (loop.Drop(LEASE),))


def test_an_answer_that_comes_twice_changes_nothing() -> None:
    state = after(given(assignment()), loop.Fetched(LEASE))
    assert advance(state, given(assignment())) == (state, ())


def test_a_higher_token_replaces_the_work_and_a_lower_one_is_ignored() -> None:
    state = after(given(assignment(token=2)), loop.Fetched(Lease("b", 2)))
    newer, actions = advance(state, given(assignment(token=3)))
    assert loop.Drop(Lease("b", 2)) in actions
    assert loop.Fetch(assignment(token=3)) in actions
    assert [held.lease.token for held in newer.held] == [3]
    assert advance(state, given(assignment(token=1))) == (state, ())


def test_one_device_measures_one_thing_at_a_time_in_the_order_it_came() -> None:
    first, second, elsewhere = assignment("1"), assignment("2"), assignment("3", device="devices/e")
    state = after(given(first, second, elsewhere))
    state, actions = advance(state, loop.Fetched(second.lease))
    assert actions == (loop.Measure(second),)
    state, actions = advance(state, loop.Fetched(first.lease))
    assert actions == ()
    state, actions = advance(state, loop.Fetched(elsewhere.lease))
    assert actions == (loop.Measure(elsewhere),)
    state, actions = advance(state, loop.Measured(second.lease, FILES))
    assert actions == (loop.Upload(second, FILES), loop.Measure(first))


@pytest.mark.parametrize("how", ["revoked", "lost", "expired"])
def test_what_is_taken_away_frees_the_device(how: str) -> None:
    first, second = assignment("1"), assignment("2")
    state = after(
        given(first),
        loop.Fetched(first.lease),
        given(second, at_ns=500),
        loop.Fetched(second.lease),
    )
    event = {
        "revoked": loop.Answered(0, revoked=frozenset({first.lease})),
        "lost": loop.Lost(first.lease),
        "expired": loop.Tick(LEASE_NS + 1),
    }[how]
    state, actions = advance(state, event)
    assert actions[:2] == (loop.Drop(first.lease), loop.Measure(second))
    assert [held.lease for held in state.held] == [second.lease]


def test_a_heartbeat_that_was_heard_keeps_the_lease() -> None:
    state = after(given(assignment()), loop.Answered(800, named=frozenset({LEASE})))
    assert after(loop.Tick(1800), state=state).held
    assert not after(loop.Tick(1801), state=state).held


def test_an_answer_to_a_call_that_did_not_name_the_lease_is_no_heartbeat() -> None:
    state = after(given(assignment()), loop.Answered(800))
    assert not after(loop.Tick(1001), state=state).held


@pytest.mark.parametrize("stage", [Stage.UPLOADING, Stage.REPORTING])
def test_a_result_in_hand_is_offered_after_the_lease_expired(stage: Stage) -> None:
    state = after(*TO_STAGE[stage])
    assert advance(state, loop.Tick(10**9)) == (state, ())


def test_leaving_drops_work_keeps_results_and_takes_nothing_more() -> None:
    working, ended = assignment("1"), assignment("2")
    state = after(given(working, ended), loop.Failed(ended.lease, FAILURE))
    state, actions = advance(state, loop.Leave())
    assert actions == (loop.Drop(working.lease), loop.Speak())
    assert advance(state, given(assignment("3"))) == (state, ())
    state, actions = advance(state, loop.Answered(0, said_leaving=True))
    assert not state.ended
    last = loop.Answered(0, said_leaving=True, acknowledged=frozenset({ended.lease}))
    state, actions = advance(state, last)
    assert state.ended
    assert actions[-1] == loop.End()


def test_an_answer_to_a_call_made_before_leaving_does_not_end_the_agent() -> None:
    state = after(loop.Leave(), loop.Answered(0, said_leaving=False))
    assert not state.ended


def test_progress_shows_in_the_state_and_never_after_the_end() -> None:
    state = after(*TO_STAGE[Stage.MEASURING], loop.Progressed(LEASE, 0.5, "steady"))
    assert (state.held[0].fraction, state.held[0].message) == (0.5, "steady")
    ended = after(*TO_STAGE[Stage.REPORTING])
    assert after(loop.Progressed(LEASE, 0.5, "steady"), state=ended) == ended


class AnyOrder(RuleBasedStateMachine):
    """Events in any order: what must hold for a device, a lease and an operator."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.state = AgentState()
        self.busy: dict[Lease, Assignment] = {}
        self.works: set[Lease] = set()

    def happens(self, event: loop.Event) -> None:
        before = self.state
        self.state, actions = advance(before, event)
        for action in actions:
            match action:
                case loop.Fetch(given):
                    assert given.lease not in self.works
                    self.works.add(given.lease)
                case loop.Measure(given):
                    assert given.lease in self.works
                    self.busy[given.lease] = given
                case loop.Upload(given, _):
                    del self.busy[given.lease]
                case loop.Drop(lease):
                    self.works.remove(lease)
                    self.busy.pop(lease, None)
                case loop.Speak() | loop.End():
                    pass
        if isinstance(event, loop.Failed) and before != self.state:
            self.busy.pop(event.lease, None)

    @rule(
        target=leases,
        benchmark=st.sampled_from("ab"),
        token=st.integers(1, 4),
        device=st.sampled_from(["devices/x", "devices/y"]),
        at_ns=st.integers(0, 3000),
    )
    def assigned(self, benchmark: str, token: int, device: str, at_ns: int) -> Lease:
        self.happens(given(assignment(benchmark, token, device), at_ns=at_ns))
        return Lease(benchmark, token)

    @rule(lease=leases)
    def fetched(self, lease: Lease) -> None:
        self.happens(loop.Fetched(lease))

    @rule(lease=leases)
    def measured(self, lease: Lease) -> None:
        self.happens(loop.Measured(lease, FILES))

    @rule(lease=leases)
    def uploaded(self, lease: Lease) -> None:
        self.happens(loop.Uploaded(lease, Result("sha256:r")))

    @rule(lease=leases)
    def failed(self, lease: Lease) -> None:
        self.happens(loop.Failed(lease, FAILURE))

    @rule(lease=consumes(leases))
    def revoked(self, lease: Lease) -> None:
        self.happens(loop.Answered(0, revoked=frozenset({lease})))
        assert self.state.find(lease) is None

    @rule(lease=leases)
    def acknowledged(self, lease: Lease) -> None:
        held = self.state.find(lease)
        self.happens(loop.Answered(0, acknowledged=frozenset({lease})))
        if held is not None and held.stage is not Stage.REPORTING:
            assert self.state.find(lease) is not None

    @rule(now_ns=st.integers(0, 5000))
    def time_goes_on(self, now_ns: int) -> None:
        self.happens(loop.Tick(now_ns))

    @rule()
    def leave(self) -> None:
        self.happens(loop.Leave())

    @invariant()
    def a_device_measures_one_thing(self) -> None:
        devices = [each.device for each in self.busy.values()]
        assert len(devices) == len(set(devices))

    @invariant()
    def a_benchmark_is_held_once(self) -> None:
        names = [held.lease.benchmark for held in self.state.held]
        assert len(names) == len(set(names))

    @invariant()
    def what_is_worked_on_is_what_is_held(self) -> None:
        assert {held.lease for held in self.state.held} == self.works

    @invariant()
    def a_device_does_not_idle_while_work_is_ready(self) -> None:
        measuring = {h.assignment.device for h in self.state.held if h.stage is Stage.MEASURING}
        ready = {h.assignment.device for h in self.state.held if h.stage is Stage.READY}
        assert ready <= measuring

    @invariant()
    def what_ended_has_a_result(self) -> None:
        for held in self.state.held:
            assert (held.result is not None) == (held.stage is Stage.REPORTING)

    @invariant()
    def who_leaves_holds_results_only(self) -> None:
        if self.state.leaving:
            assert all(held.stage is Stage.REPORTING for held in self.state.held)


TestAnyOrder = AnyOrder.TestCase
