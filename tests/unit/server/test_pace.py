"""When a variant counts as slower than its parent, and what is said when it is not clear."""

from __future__ import annotations

from typing import Literal

import pytest

from edgeconv.results.benchmark import BenchmarkSummary, Percentile
from edgeconv.results.effect import Note
from edgeconv.server.pace import pace_note

Verdict = Literal["stable", "unstable"]


def _took(
    p50: int | None, *, spread: int | None = 10, processes: int = 3, verdict: Verdict = "stable"
) -> BenchmarkSummary:
    median = Percentile(percent=50)
    if p50 is not None:
        median = Percentile(
            percent=50,
            value_ns=p50,
            low_ns=None if spread is None else p50 - spread,
            high_ns=None if spread is None else p50 + spread,
        )
    return BenchmarkSummary(percentiles=(median,), processes=processes, verdict=verdict)


def _note(before: BenchmarkSummary, after: BenchmarkSummary) -> Note | None:
    return pace_note("devices/a", "fp32.onnx", before, after)


def _said(before: BenchmarkSummary, after: BenchmarkSummary) -> Note:
    note = _note(before, after)
    assert note is not None
    assert note.subject == "devices/a"
    for word in ("devices/a", "fp32.onnx", "one after another"):
        assert word in note.message
    return note


@pytest.mark.parametrize("after", [500, 1000, 1049])
def test_less_than_five_percent_more_is_no_slower(after: int) -> None:
    assert _note(_took(1000), _took(after)) is None


def test_from_five_percent_on_it_is_slower_when_the_intervals_are_apart() -> None:
    note = _said(_took(1000), _took(1050))
    assert note.kind == "slower"
    assert "takes 1.05 × as long" in note.message
    assert "unstable" not in note.message


@pytest.mark.parametrize(("after", "kind"), [(1200, "info"), (1201, "slower")])
def test_intervals_that_touch_leave_it_undecided(after: int, kind: str) -> None:
    note = _said(_took(1000, spread=100), _took(after, spread=100))
    assert note.kind == kind
    assert ("could not be decided" in note.message) is (kind == "info")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (_took(1000, processes=2), _took(9000)),
        (_took(1000), _took(9000, processes=2)),
        (_took(1000, processes=1, spread=None), _took(9000)),
        (_took(1000), _took(9000, processes=1, spread=None)),
    ],
)
def test_few_processes_decide_nothing(before: BenchmarkSummary, after: BenchmarkSummary) -> None:
    note = _said(before, after)
    assert note.kind == "info"
    assert "could not be decided: it takes 3 processes each" in note.message


def test_without_an_interval_nothing_is_decided() -> None:
    note = _said(_took(1000), _took(9000, spread=None))
    assert note.kind == "info"
    assert "has no interval" in note.message


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (_took(1000, verdict="unstable"), _took(2000), "unstable: that of fp32.onnx."),
        (_took(1000), _took(2000, verdict="unstable"), "unstable: its own."),
        (
            _took(1000, verdict="unstable"),
            _took(2000, verdict="unstable"),
            "unstable: its own and that of fp32.onnx.",
        ),
    ],
)
def test_an_unstable_measurement_only_seems_slower(
    before: BenchmarkSummary, after: BenchmarkSummary, named: str
) -> None:
    note = _said(before, after)
    assert note.kind == "slower"
    assert "seems to take 2.00 ×" in note.message
    assert named in note.message


def test_without_a_median_nothing_is_said() -> None:
    assert _note(_took(None), _took(1000)) is None
    assert _note(_took(1000), _took(None)) is None
    assert _note(BenchmarkSummary(), _took(1000)) is None
