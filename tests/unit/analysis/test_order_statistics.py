"""Percentiles and intervals on known series."""

from __future__ import annotations

import pytest

from edgeconv.analysis.order_statistics import (
    Interval,
    median,
    median_interval,
    percentile,
    samples_to_carry,
)


@pytest.mark.parametrize(("percent", "count"), [(50, 7), (90, 44), (99, 459)])
def test_samples_that_carry_a_percentile_at_99_percent(percent: float, count: int) -> None:
    assert samples_to_carry(percent) == count


@pytest.mark.parametrize("percent", [0, 100, -1, 101])
def test_extremes_are_carried_by_no_number_of_samples(percent: float) -> None:
    with pytest.raises(ValueError, match="must lie inside"):
        samples_to_carry(percent)


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (1, 1), (7, 7), (50, 50), (90, 90), (99, 99), (100, 100)]
)
def test_nearest_rank_of_a_hundred(percent: float, value: int) -> None:
    assert percentile(range(1, 101), percent) == value


def test_a_percentile_of_one_sample_is_that_sample() -> None:
    assert percentile([5], 99) == 5


def test_no_samples_have_no_percentile_and_no_median() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 50)
    with pytest.raises(ValueError, match="no values"):
        median([])


def test_percent_outside_its_range() -> None:
    with pytest.raises(ValueError, match="0…100"):
        percentile([1], 101)


@pytest.mark.parametrize(("values", "middle"), [([3, 1, 2], 2), ([4, 1, 2, 3], 2.5), ([9], 9)])
def test_median(values: list[int], middle: float) -> None:
    assert median(values) == middle


@pytest.mark.parametrize(
    # Ranks from tables of the sign test (Conover, table A3).
    ("count", "ranks"),
    [(6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (10, (2, 9)), (12, (3, 10)), (20, (6, 15))],
)
def test_ranks_of_the_interval_of_the_median(count: int, ranks: tuple[int, int]) -> None:
    assert median_interval(range(1, count + 1)) == Interval(*ranks)


def test_five_values_carry_no_interval_at_95_percent() -> None:
    assert median_interval([1, 2, 3, 4, 5]) is None
    assert median_interval([1, 2, 3, 4, 5], confidence=0.9) == Interval(1, 5)


def test_the_width_of_an_interval() -> None:
    assert Interval(2, 5).width == 3
