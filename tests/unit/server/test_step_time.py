"""How long a step may take, and what is said when it took longer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.lock import WAITING_SHARED
from edgeconv.recipe.doing import doing
from edgeconv.recipe.specs import SPECS, StepKind
from edgeconv.server.jobs.limit_deaths import ended_by_a_limit
from edgeconv.server.jobs.step_time import LONGEST_WAIT_S, StepClock, StepTimes, took_too_long


def test_a_step_that_says_nothing_has_its_time_from_the_order_on() -> None:
    assert StepClock(10, 100).ends_s == 110


def test_a_step_has_its_time_from_its_first_word_on() -> None:
    clock = StepClock(10, 100)
    clock.hear("", 105)
    assert clock.ends_s == 115
    clock.hear("halfway", 112)
    assert clock.ends_s == 115


def test_a_wait_for_a_measurement_is_not_its_own_time() -> None:
    clock = StepClock(10, 100)
    clock.hear(WAITING_SHARED, 101)
    assert clock.ends_s == 100 + LONGEST_WAIT_S
    clock.hear("", 2000)
    assert clock.ends_s == 2010


words = st.one_of(st.just(WAITING_SHARED), st.text())


@given(st.floats(0.1, 1e5), st.lists(st.tuples(words, st.floats(0, 1e5)), max_size=20))
def test_whatever_a_child_says_it_ends(limit_s: float, said: list[tuple[str, float]]) -> None:
    clock, now_s = StepClock(limit_s, 0.0), 0.0
    for each, later_s in said:
        now_s += later_s
        if now_s > clock.ends_s:
            break
        clock.hear(each, now_s)
    assert clock.ends_s <= max(limit_s, LONGEST_WAIT_S) + limit_s


def test_inspections_have_a_time_of_their_own() -> None:
    times = StepTimes(step_s=3, inspection_s=2)
    assert [times.of(kind) for kind in ("inspect", "inspect-dataset", "lowering")] == [2, 2, 3]


@pytest.mark.parametrize(
    ("kind", "name", "limit_s", "said", "option"),
    [
        ("lowering", "tflite", 1800, "longer than 30 min in lowering to TFLite", "--step-time"),
        ("finish", "int8-static", 90, "longer than 90 s in the finish int8-static", "--step-t"),
        ("inspect", "inspect", 600, "longer than 10 min in inspecting the model", "--inspection-"),
    ],
)
def test_the_error_names_the_limit_and_the_step(
    kind: str, name: str, limit_s: float, said: str, option: str
) -> None:
    error = took_too_long(kind, name, limit_s)
    assert error.reason is Reason.LIMIT_EXCEEDED
    assert said in error.message
    assert option in error.fix
    assert error.metadata == {"step": name, "limit_s": f"{limit_s}"}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_step_has_words(spec: object) -> None:
    assert "{" not in doing(spec.kind, spec.name)  # type: ignore[attr-defined]


def died(ended_by: str, reason: Reason = Reason.CHILD_DIED) -> EdgeconvError:
    return EdgeconvError(reason, "The process ended.", fix="Do it.", ended_by=ended_by)


def test_an_abort_for_want_of_memory_is_a_limit() -> None:
    words = "terminate called after throwing an instance of 'std::bad_alloc'\n what(): bad"
    error = ended_by_a_limit(StepKind.LOWERING, "tflite", words, died("signal SIGABRT"))
    assert error is not None
    assert error.reason is Reason.LIMIT_EXCEEDED
    assert "more memory than a step may have, in lowering to TFLite" in error.message


def test_a_limit_of_the_kernel_names_the_step() -> None:
    of_kernel = died("out of memory", Reason.LIMIT_EXCEEDED)
    error = ended_by_a_limit(StepKind.VERIFY, "verify", "", of_kernel)
    assert error is not None
    assert (error.message, error.fix) == ("The process ended, in verifying the file.", "Do it.")
    assert error.metadata == {"step": "verify", "ended_by": "out of memory"}


@pytest.mark.parametrize(
    ("ended_by", "words"),
    [
        ("signal SIGABRT", "assertion failed"),
        ("signal SIGSEGV", "std::bad_alloc"),
        ("status 1", ""),
    ],
)
def test_another_death_is_no_limit(ended_by: str, words: str) -> None:
    assert ended_by_a_limit(StepKind.VERIFY, "verify", words, died(ended_by)) is None
