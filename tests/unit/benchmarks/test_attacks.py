"""The suite of attacks: its verdicts, and one route of it; `python -m benchmarks.attacks`
does all."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.attacks.__main__ import BOTH, LEFT_BEHIND, NO_WALLS, Outcome, run
from benchmarks.attacks.aftermath import Aftermath, done_freely, handled
from benchmarks.attacks.attempts import Attempt
from benchmarks.attacks.deeds import DEEDS
from benchmarks.attacks.verdicts import Verdict, behind_walls, free
from benchmarks.attacks.world import ESCAPES
from edgeconv.sandbox.walls import LANDLOCK, SECCOMP, Walls

WHOLE = Walls(6, True)
NO_FILES = Walls(0, True, {LANDLOCK: "switched off"})
NO_FILTER = Walls(6, False, {SECCOMP: "switched off"})
ROUTE = "guards"


def attempt(
    escape: str,
    walls: Walls,
    *,
    worked: bool = False,
    refused: bool = False,
    traces: tuple[str, ...] = (),
) -> Attempt:
    return Attempt(ROUTE, escape, worked, refused, frozenset(traces), walls)


def judged(found: Attempt, *left: str) -> Verdict:
    return behind_walls(found, {(ROUTE, found.escape): frozenset(left)})


def test_what_did_not_work_without_walls_shows_nothing() -> None:
    assert free(attempt("fork", Walls(), worked=True)) is Verdict.WORKED
    assert free(attempt("fork", Walls())) is Verdict.WORTHLESS


def test_a_refusal_is_held_and_another_failure_is_worthless() -> None:
    assert judged(attempt("fork", WHOLE, refused=True)) is Verdict.HELD
    assert judged(attempt("fork", WHOLE)) is Verdict.WORTHLESS


def test_what_worked_has_escaped_unless_the_child_has_said_so() -> None:
    assert judged(attempt("read_passwd", WHOLE, worked=True)) is Verdict.ESCAPED
    assert judged(attempt("read_passwd", NO_FILES, worked=True)) is Verdict.SAID
    assert judged(attempt("read_passwd", NO_FILTER, worked=True)) is Verdict.ESCAPED


def test_a_trace_counts_more_than_the_word_of_the_code() -> None:
    lied = attempt("make_a_file", WHOLE, refused=True, traces=("planted",))
    assert judged(lied, "planted") is Verdict.ESCAPED
    asked_for = attempt("signal_by_owning_a_pipe", NO_FILTER, worked=True)
    assert judged(asked_for, "signals") is Verdict.HELD


def test_one_escape_one_worthless_attempt_or_one_program_that_was_taken_spoils_it() -> None:
    def outcome(verdict: Verdict, *, named: bool = True) -> Outcome:
        return Outcome({ROUTE: ("no", named)}, {(ROUTE, "fork", BOTH): verdict})

    assert outcome(Verdict.HELD).holds
    assert not outcome(Verdict.HELD, named=False).holds
    for verdict in (Verdict.SAID, Verdict.ESCAPED, Verdict.WORTHLESS, Verdict.WORKED):
        assert not outcome(verdict).holds


def test_what_is_left_behind_must_have_been_tried_and_must_lead_nowhere() -> None:
    def of(words: str, *faults: str, walls: Walls = WHOLE) -> Verdict:
        return handled(Aftermath("a", words, frozenset(faults), walls))

    assert of("did") is of("refused 1") is of("ended") is Verdict.HELD
    assert of("") is Verdict.WORTHLESS
    assert of("did", "a change outside") is Verdict.ESCAPED
    assert of("did", "a change outside", walls=NO_FILES) is Verdict.SAID
    assert done_freely(Aftermath("a", "refused 1", frozenset(), Walls())) is Verdict.WORTHLESS


@pytest.mark.timeout(600)
def test_what_a_child_leaves_behind_leads_its_server_nowhere() -> None:
    outcome = asyncio.run(run([LEFT_BEHIND], [NO_WALLS, BOTH]))
    assert outcome.counted(NO_WALLS) == f"{len(DEEDS)} worked"
    assert outcome.counted(BOTH) == f"{len(DEEDS)} held"
    assert outcome.holds


@pytest.mark.timeout(600)
def test_behind_the_walls_nothing_escapes_from_a_program_that_is_loaded_unchecked() -> None:
    outcome = asyncio.run(run([ROUTE], [NO_WALLS, BOTH]))
    assert outcome.counted(NO_WALLS) == f"{len(ESCAPES)} worked"
    assert outcome.counted(BOTH) == f"{len(ESCAPES)} held"
    assert outcome.refused[ROUTE][1], outcome.refused
    assert outcome.holds
