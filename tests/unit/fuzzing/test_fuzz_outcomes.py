"""Counting what became of hostile models: nothing is called harmless that was not seen."""

from __future__ import annotations

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from fuzzing.cases import Case
from fuzzing.children import refused
from fuzzing.messages import complaint_of
from fuzzing.outcomes import (
    ACCEPTED,
    CRASH,
    INTERNAL,
    MEMORY,
    SERVER,
    TIME_OUT,
    Outcome,
    Served,
    Tally,
)

CASE = Case("onnx", 7, {"model.onnx": b""}, "nothing")
WHOLE = Served(cases=300, status=0, peak_bytes=2**27)


def _tally(*outcomes: Outcome) -> Tally:
    tally = Tally()
    for outcome in outcomes:
        tally.add(CASE, outcome)
    return tally


@pytest.mark.parametrize("what", [CRASH, INTERNAL, SERVER])
def test_one_fault_in_a_thousand_fails_the_run_and_is_found(what: str) -> None:
    tally = _tally(*[Outcome(ACCEPTED, "intake")] * 1000, Outcome(what, "inspection"))
    assert tally.failed
    assert [each.case for each in tally.findings] == ["onnx:7"]


@pytest.mark.parametrize("what", [TIME_OUT, MEMORY])
def test_limits_may_be_reached_by_one_in_a_hundred(what: str) -> None:
    tally = _tally(*[Outcome(ACCEPTED, "intake")] * 99, Outcome(what, "intake"))
    assert tally.findings
    assert not tally.failed
    assert f"{what}s 1.00%" in tally.sentences()[0]
    tally.add(CASE, Outcome(what, "intake"))
    assert tally.failed


def test_what_was_too_slow_once_only_is_told_and_no_time_out() -> None:
    tally = _tally(Outcome(ACCEPTED, "intake", before=TIME_OUT))
    assert not tally.failed
    assert any("too slow once" in each for each in tally.sentences())


def test_a_run_without_a_server_says_nothing_of_crashes() -> None:
    said = " ".join(_tally(Outcome(ACCEPTED, "intake")).sentences())
    assert "crashes" not in said
    assert "No case went through a server" in said


def test_a_run_with_a_server_says_how_many_cases_it_saw_and_how_it_ended() -> None:
    tally = _tally(Outcome(ACCEPTED, "conversion"))
    tally.servers.append(WHOLE)
    said = " ".join(tally.sentences())
    assert "0 crashes of a server process: 300 cases went through 1" in said
    assert "status 0" in said
    assert not tally.failed


@pytest.mark.parametrize(
    "server",
    [Served(5, -11, 0), Served(5, 1, 0), Served(5, 0, 0, ("Traceback (most recent call last):",))],
)
def test_a_server_that_ends_badly_or_logs_a_fault_fails_the_run(server: Served) -> None:
    tally = _tally(Outcome(ACCEPTED, "conversion"))
    tally.servers.append(server)
    assert tally.failed


def _error(message: str, **metadata: str) -> EdgeconvError:
    error = EdgeconvError(Reason.MODEL_UNREADABLE, message)
    error.metadata = metadata
    return error


@pytest.mark.parametrize(
    "message",
    [
        "", "x" * 701, "Node 'a\x1b[2J' can't be taken.", "It failed in a.cc:12.",
        "It failed: <object at 0x7f12345678ab>.", "It stands in /tmp/fuzz-1/model.onnx.",
        "two\nlines",
    ],
)  # fmt: skip
def test_words_of_no_use_are_told_apart(message: str) -> None:
    assert complaint_of(_error(message, node="a"))
    assert refused(_error(message, node="a"), "intake").complaint


def test_a_refusal_that_names_its_node_is_of_use() -> None:
    assert not complaint_of(_error("Node 'a' (Relu) can't be taken: it has 2 inputs.", node="a"))
    assert "names nothing" in complaint_of(_error("It can't be taken."))


def test_an_allocation_that_failed_is_a_memory_limit_whatever_it_is_called() -> None:
    words = "it can't be computed (DefaultCPUAllocator: can't allocate memory)"
    assert refused(_error(words, node="a"), "intake").what == MEMORY
