"""Percentiles over processes that took different numbers of samples."""

from __future__ import annotations

from edgeconv.analysis.order_statistics import Interval
from edgeconv.analysis.percentiles import percentile_across


def test_43_samples_do_not_carry_p90_and_44_do() -> None:
    assert percentile_across([[1.0] * 43], 90).value is None
    assert percentile_across([[1.0] * 44], 90).value == 1.0


def test_three_processes_share_the_samples_of_p99() -> None:
    assert percentile_across([[1.0] * 153] * 3, 99).value == 1.0
    assert percentile_across([[1.0] * 152] * 3, 99).value is None


def test_many_samples_of_one_process_do_not_stand_in_for_another() -> None:
    estimate = percentile_across([[1.0] * 10_000, [2.0] * 3], 90)
    assert estimate.value is None
    assert (estimate.samples, estimate.needed) == (10_003, 44)


def test_a_process_with_many_samples_counts_like_one_with_few() -> None:
    # Two of three processes say 3: so does the median, though 9 of 10 samples say 1.
    estimate = percentile_across([[1] * 900, [3] * 50, [3] * 50], 50)
    assert estimate.value == 3
    assert estimate.interval == Interval(1, 3)


def test_one_process_has_no_interval_across_processes() -> None:
    estimate = percentile_across([list(range(100))], 50)
    assert estimate.value == 49
    assert estimate.interval is None


def test_nothing_at_all() -> None:
    assert percentile_across([], 50).value is None
    assert percentile_across([[], []], 50).samples == 0
