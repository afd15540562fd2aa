"""Who is next at a device, and how an agent ends."""

from __future__ import annotations

from pathlib import Path

from edgeconv.agent import loop
from edgeconv.agent.loop import AgentState, Stage, advance
from edgeconv.agent.work import Assignment, Lease, ResultFiles

FILES = ResultFiles(Path("record.json"), None)


def assignment(benchmark: str, device: str = "devices/d") -> Assignment:
    return Assignment(Lease(benchmark, 1), 1000, device, "onnx", ())


def waiting(*benchmarks: str) -> AgentState:
    """A state in which the first of them measures, and the others are ready behind it."""
    state, _ = advance(
        AgentState(), loop.Answered(asked_ns=0, assignments=tuple(map(assignment, benchmarks)))
    )
    for benchmark in benchmarks:
        state, _ = advance(state, loop.Fetched(Lease(benchmark, 1)))
    return state


def stages(state: AgentState) -> dict[str, Stage]:
    return {each.lease.benchmark: each.stage for each in state.held}


def test_a_device_that_gets_free_takes_one_of_those_that_wait() -> None:
    state = waiting("a", "b", "c")
    assert stages(state) == {"a": Stage.MEASURING, "b": Stage.READY, "c": Stage.READY}
    state, actions = advance(state, loop.Measured(Lease("a", 1), FILES))
    assert [each for each in actions if isinstance(each, loop.Measure)] == [
        loop.Measure(assignment("b"))
    ]
    assert stages(state)["c"] is Stage.READY


def test_a_lease_that_is_taken_away_makes_room_for_one() -> None:
    state = waiting("a", "b", "c")
    state, actions = advance(state, loop.Lost(Lease("a", 1)))
    assert loop.Drop(Lease("a", 1)) in actions
    assert [each for each in actions if isinstance(each, loop.Measure)] == [
        loop.Measure(assignment("b"))
    ]
    assert actions[-1] == loop.Speak()


def test_what_is_not_known_yet_has_no_fraction() -> None:
    state = waiting("a", "b")
    assert {each.fraction for each in state.held} == {-1.0}
    state, _ = advance(state, loop.Progressed(Lease("a", 1), 0.5, "half"))
    state, _ = advance(state, loop.Measured(Lease("a", 1), FILES))
    assert {each.fraction for each in state.held} == {-1.0}


def test_leaving_twice_says_so_once() -> None:
    state, actions = advance(waiting("a"), loop.Leave())
    assert actions == (loop.Drop(Lease("a", 1)), loop.Speak())
    assert advance(state, loop.Leave()) == (state, ())


def test_an_agent_ends_when_the_server_knows_that_it_leaves_and_not_before() -> None:
    said = loop.Answered(asked_ns=0, said_leaving=True)
    unsaid = loop.Answered(asked_ns=0)
    stays, actions = advance(AgentState(), said)
    assert not stays.ended
    assert actions == ()
    leaving, _ = advance(AgentState(), loop.Leave())
    stays, actions = advance(leaving, unsaid)
    assert not stays.ended
    assert actions == ()
    ended, actions = advance(leaving, said)
    assert ended.ended
    assert actions == (loop.End(),)


def test_nothing_is_dropped_where_nothing_is_held() -> None:
    for event in (loop.Lost(Lease("a", 1)), loop.Tick(10**18)):
        assert advance(AgentState(), event) == (AgentState(), ())
