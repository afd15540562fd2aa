"""The agent's decisions: state and event in, state and actions out. No I/O, no clock.

A lease goes through stages:

    FETCHING ──fetched──▶ READY ──device free──▶ MEASURING ──measured──▶ UPLOADING
        └───────┬────────────────────────┴───── failed ─────┬─────────────┘  │
                ▼                                           ▼             uploaded
    (revoked, lost, expired: dropped)                   REPORTING ◀──────────┘
                                                            └── acknowledged: forgotten

An event that a stage does not know leaves the state as it is: answers can come twice, and
work can end after its lease was taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from edgeconv.agent.work import Assignment, Failure, Lease, Result, ResultFiles


class Stage(Enum):
    """How far the work under a lease is."""

    FETCHING = "fetching"
    READY = "ready"
    MEASURING = "measuring"
    UPLOADING = "uploading"
    REPORTING = "reporting"


@dataclass(frozen=True)
class Held:
    """A lease that the agent holds.

    Attributes:
        deadline_ns: Monotonic time at which it expires unless the server is heard.
        message, fraction: What is being done; a negative fraction can't be told.
        result: Set when REPORTING.
    """

    assignment: Assignment
    deadline_ns: int
    stage: Stage = Stage.FETCHING
    message: str = "fetching files"
    fraction: float = -1.0
    result: Result | None = None

    @property
    def lease(self) -> Lease:
        return self.assignment.lease


@dataclass(frozen=True)
class AgentState:
    """All that an agent knows.

    Attributes:
        held: In the order the leases came.
        draining: Devices that an operator drains.
        refused: (device, why) of devices that the server does not take.
        leaving: Whether the agent is ending.
        ended: Whether it has nothing more to say.
    """

    held: tuple[Held, ...] = ()
    draining: frozenset[str] = frozenset()
    refused: frozenset[tuple[str, str]] = frozenset()
    leaving: bool = False
    ended: bool = False

    def find(self, lease: Lease) -> Held | None:
        """The work under a lease."""
        return next((each for each in self.held if each.lease == lease), None)


# Events.


@dataclass(frozen=True)
class Answered:
    """The server answered.

    Attributes:
        asked_ns: Monotonic time at which the call was begun.
        named: Leases that the call named: their heartbeats.
        said_leaving: Whether the call said that the agent is ending.
    """

    asked_ns: int
    named: frozenset[Lease] = frozenset()
    said_leaving: bool = False
    assignments: tuple[Assignment, ...] = ()
    revoked: frozenset[Lease] = frozenset()
    acknowledged: frozenset[Lease] = frozenset()
    draining: frozenset[str] = frozenset()
    refused: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Fetched:
    """All files of an assignment are here."""

    lease: Lease


@dataclass(frozen=True)
class Progressed:
    """The work under a lease went on."""

    lease: Lease
    fraction: float
    message: str


@dataclass(frozen=True)
class Measured:
    """A measurement ended with a result."""

    lease: Lease
    files: ResultFiles


@dataclass(frozen=True)
class Uploaded:
    """The result's files are with the server."""

    lease: Lease
    result: Result


@dataclass(frozen=True)
class Failed:
    """The work under a lease failed."""

    lease: Lease
    failure: Failure


@dataclass(frozen=True)
class Lost:
    """The server refused a call because the lease is no longer ours."""

    lease: Lease


@dataclass(frozen=True)
class Leave:
    """The agent is to end."""


@dataclass(frozen=True)
class Tick:
    """Time went on."""

    now_ns: int


Event = Answered | Fetched | Progressed | Measured | Uploaded | Failed | Lost | Leave | Tick


# Actions.


@dataclass(frozen=True)
class Fetch:
    """Bring the files of an assignment here."""

    assignment: Assignment


@dataclass(frozen=True)
class Measure:
    """Measure on the assignment's device."""

    assignment: Assignment


@dataclass(frozen=True)
class Upload:
    """Send a result's files."""

    assignment: Assignment
    files: ResultFiles


@dataclass(frozen=True)
class Drop:
    """Stop whatever is done under a lease, at once, and remove its files."""

    lease: Lease


@dataclass(frozen=True)
class Speak:
    """Call the server now: there is news that it waits for."""


@dataclass(frozen=True)
class End:
    """Nothing more is to be said."""


Action = Fetch | Measure | Upload | Drop | Speak | End
Step = tuple[AgentState, tuple[Action, ...]]

_WORDS: Mapping[Stage, str] = {
    Stage.FETCHING: "fetching files",
    Stage.READY: "waiting for the device",
    Stage.MEASURING: "measuring",
    Stage.UPLOADING: "sending the result",
    Stage.REPORTING: "ended",
}
_NEXT: Mapping[tuple[Stage, type], Stage] = {
    (Stage.FETCHING, Fetched): Stage.READY,
    (Stage.MEASURING, Measured): Stage.UPLOADING,
    (Stage.UPLOADING, Uploaded): Stage.REPORTING,
    (Stage.FETCHING, Failed): Stage.REPORTING,
    (Stage.MEASURING, Failed): Stage.REPORTING,
    (Stage.UPLOADING, Failed): Stage.REPORTING,
}
_STOPS_WHEN_EXPIRED = frozenset({Stage.FETCHING, Stage.READY, Stage.MEASURING})


def advance(state: AgentState, event: Event) -> Step:
    """The state after an event, and what is to be done."""
    match event:
        case Answered():
            return _answered(state, event)
        case Progressed():
            return _progressed(state, event), ()
        case Fetched() | Measured() | Uploaded() | Failed():
            return _went_on(state, event)
        case Lost():
            state, actions = _drop(state, lambda held: held.lease == event.lease)
            return state, (*actions, Speak()) if actions else ()
        case Tick():
            return _drop(
                state,
                lambda held: held.stage in _STOPS_WHEN_EXPIRED and held.deadline_ns < event.now_ns,
            )
        case Leave():
            return _leave(state)


def _went_on(state: AgentState, event: Fetched | Measured | Uploaded | Failed) -> Step:
    held = state.find(event.lease)
    if held is None or (held.stage, type(event)) not in _NEXT:
        return state, ()
    stage = _NEXT[held.stage, type(event)]
    moved = replace(held, stage=stage, message=_WORDS[stage], fraction=-1.0)
    actions: tuple[Action, ...] = ()
    match event:
        case Measured():
            actions = (Upload(held.assignment, event.files),)
        case Uploaded():
            moved, actions = replace(moved, result=event.result), (Speak(),)
        case Failed():
            moved, actions = replace(moved, result=Result(failure=event.failure)), (Speak(),)
        case Fetched():
            pass
    return _start_ready(_replaced(state, moved), actions)


def _progressed(state: AgentState, event: Progressed) -> AgentState:
    held = state.find(event.lease)
    if held is None or held.stage is Stage.REPORTING:
        return state
    return _replaced(state, replace(held, fraction=event.fraction, message=event.message))


def _answered(state: AgentState, event: Answered) -> Step:
    state = replace(state, draining=event.draining, refused=event.refused)
    gone = event.revoked | event.acknowledged
    state, actions = _drop(
        state,
        lambda held: (
            held.lease in gone and (held.lease in event.revoked or held.stage is Stage.REPORTING)
        ),
    )
    state = replace(state, held=tuple(_heard(each, event) for each in state.held))
    for assignment in event.assignments:
        state, more = _assigned(state, assignment, event.asked_ns)
        actions += more
    if state.leaving and event.said_leaving and not state.held:
        return replace(state, ended=True), (*actions, End())
    return state, actions


def _heard(held: Held, event: Answered) -> Held:
    if held.lease not in event.named:
        return held
    return replace(held, deadline_ns=event.asked_ns + held.assignment.lease_ns)


def _assigned(state: AgentState, assignment: Assignment, asked_ns: int) -> Step:
    same = [each.lease for each in state.held if each.lease.benchmark == assignment.lease.benchmark]
    if state.leaving or any(lease.token >= assignment.lease.token for lease in same):
        return state, ()
    state, actions = _drop(state, lambda held: held.lease in same)
    held = Held(assignment, asked_ns + assignment.lease_ns)
    return replace(state, held=(*state.held, held)), (*actions, Fetch(assignment), Speak())


def _leave(state: AgentState) -> Step:
    if state.leaving:
        return state, ()
    state, actions = _drop(
        replace(state, leaving=True), lambda held: held.stage is not Stage.REPORTING
    )
    return state, (*actions, Speak())


def _drop(state: AgentState, which: Callable[[Held], bool]) -> Step:
    dropped = [each for each in state.held if which(each)]
    if not dropped:
        return state, ()
    kept = tuple(each for each in state.held if each not in dropped)
    return _start_ready(replace(state, held=kept), tuple(Drop(each.lease) for each in dropped))


def _start_ready(state: AgentState, actions: tuple[Action, ...]) -> Step:
    """Gives each free device the first work that is ready for it."""
    busy = {each.assignment.device for each in state.held if each.stage is Stage.MEASURING}
    for each in state.held:
        if each.stage is Stage.READY and each.assignment.device not in busy:
            busy.add(each.assignment.device)
            moved = replace(each, stage=Stage.MEASURING, message=_WORDS[Stage.MEASURING])
            state = _replaced(state, moved)
            actions += (Measure(each.assignment),)
    return state, actions


def _replaced(state: AgentState, moved: Held) -> AgentState:
    held = tuple(moved if each.lease == moved.lease else each for each in state.held)
    return replace(state, held=held)
