"""When a series has settled."""

from __future__ import annotations

import pytest

from edgeconv.analysis.steadiness import (
    disagreement,
    has_warmed_up,
    median_is_settled,
    relative_spread,
)


def test_a_series_that_still_falls_is_not_warm() -> None:
    assert not has_warmed_up([100 - 5 * i for i in range(10)])


def test_a_series_is_warm_once_its_last_windows_agree() -> None:
    assert has_warmed_up([900, 400, 200, 100, 100, 101, 99, 100, 100, 100, 101, 99, 100])


def test_too_few_samples_are_not_warm() -> None:
    assert not has_warmed_up([100] * 9)


def test_one_outlier_does_not_make_a_series_cold() -> None:
    assert has_warmed_up([100, 100, 100, 100, 100, 100, 5000, 100, 100, 100])


def test_a_wide_series_settles_with_more_samples_only() -> None:
    few = [100 + 10 * (i % 5) for i in range(10)]
    assert not median_is_settled(few, within=0.05)
    assert median_is_settled([100 + (i % 5) for i in range(500)], within=0.05)


def test_five_samples_settle_nothing() -> None:
    assert not median_is_settled([100] * 5, within=1.0)


@pytest.mark.parametrize(
    ("values", "share"), [([], 0.0), ([7], 0.0), ([10, 10], 0.0), ([9, 10, 12], 0.3)]
)
def test_disagreement_is_a_share_of_the_median(values: list[int], share: float) -> None:
    assert disagreement(values) == pytest.approx(share)


def test_spread_is_the_median_distance_from_the_median() -> None:
    assert relative_spread([8, 10, 13]) == pytest.approx(0.2)


def test_values_around_zero_have_no_relative_measure() -> None:
    with pytest.raises(ValueError, match="around 0"):
        disagreement([-1, 0, 1])
    with pytest.raises(ValueError, match="around 0"):
        relative_spread([0, 0])
