"""Ranges as the observer takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeconv.conversion.finishes.ranges import Range, observe
from edgeconv.recipe.specs import Int8StaticOptions

FLOATS = st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=30)


def seen(*samples: Any, **options: Any) -> Range:
    def run() -> Iterator[Mapping[str, NDArray[Any]]]:
        for each in samples:
            yield {"t": np.asarray(each, np.float32)}

    return observe(run, Int8StaticOptions(**options))["t"]


@given(st.lists(FLOATS, min_size=1, max_size=5))
def test_min_max_is_true_and_holds_zero(samples: list[list[float]]) -> None:
    values = [0.0, *(value for sample in samples for value in sample)]
    assert seen(*samples) == Range(min(values), max(values))


@given(st.lists(FLOATS, min_size=1, max_size=5), st.floats(51, 100))
def test_a_percentile_lies_within_the_extremes(
    samples: list[list[float]], percentile: float
) -> None:
    cut, whole = seen(*samples, method="percentile", percentile=percentile), seen(*samples)
    assert whole.low <= cut.low <= 0 <= cut.high <= whole.high


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.4e-45), (0.0, 1e-41), (1.0, 1.0000001), (1000.0, 1000.001)]
)
def test_a_range_narrower_than_its_bins_in_single_precision(low: float, high: float) -> None:
    cut = seen([low, high, high], method="percentile", percentile=99)
    assert cut == Range(0.0, float(np.float32(high)))


def test_a_percentile_leaves_out_the_tails_on_both_sides() -> None:
    values = np.linspace(-1, 1, 100_001)
    cut = seen(values[:50_000], values[50_000:], method="percentile", percentile=99)
    assert cut.low == pytest.approx(-0.99, abs=1e-3)
    assert cut.high == pytest.approx(0.99, abs=1e-3)


def test_one_outlier_in_a_million_is_left_out() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 1_000_000)
    values[7] = 500.0
    assert seen(values).high == 500
    assert seen(values, method="percentile", percentile=99.99).high < 1.2


def test_after_a_relu_the_range_begins_at_zero() -> None:
    assert seen([0.5, 3.0]).low == 0
    assert seen([0.5, 3.0], method="percentile", percentile=60).low == 0


def test_masks_do_not_stretch_the_range() -> None:
    assert seen([-np.inf, 1.0], [-3.4e38, 2.0], [np.nan]) == Range(0, 2)


def test_integers_and_empty_tensors_have_no_range() -> None:
    values = {"ids": np.arange(3), "empty": np.zeros(0, np.float32), "x": np.ones(1, np.float32)}
    assert list(observe(lambda: iter([values]), Int8StaticOptions())) == ["x"]
