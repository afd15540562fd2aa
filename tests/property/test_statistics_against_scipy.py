"""Percentiles and intervals against numpy and scipy, and by how often they hold."""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgeconv.analysis import comparison
from edgeconv.analysis.agreement import MOST_DB, compare
from edgeconv.analysis.comparison import Answer, compare_speed
from edgeconv.analysis.order_statistics import (
    median,
    median_interval,
    percentile,
    samples_to_carry,
)
from edgeconv.analysis.percentiles import percentile_across
from edgeconv.analysis.steadiness import relative_spread

SERIES = st.lists(st.integers(1, 10**9), min_size=1, max_size=120)
DRAWS = {
    "exponential": lambda rng: rng.expovariate(1.0),
    "lognormal": lambda rng: rng.lognormvariate(0.0, 1.5),
    "two modes": lambda rng: rng.gauss(1.0, 0.01) + (5.0 if rng.random() < 0.3 else 0.0),
}
MEDIANS = {"exponential": math.log(2), "lognormal": 1.0}


@given(SERIES, st.sampled_from([0, 1, 25, 50, 75, 90, 95, 99, 100]))
def test_percentiles_are_numpys_of_the_inverted_distribution(
    samples: list[int], percent: int
) -> None:
    want = np.percentile(np.array(samples), percent, method="inverted_cdf")
    assert percentile(sorted(samples), percent) == want


@given(SERIES)
def test_medians_and_spreads_are_those_of_others(samples: list[int]) -> None:
    assert median(samples) == statistics.median(samples)
    want = stats.median_abs_deviation(samples) / np.median(samples)
    assert relative_spread(samples) == pytest.approx(float(want))


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [1, 5, 6, 7, 9, 30, 101, 500, 998])
def test_the_ranks_of_the_interval_are_the_tightest_that_hold(
    count: int, confidence: float
) -> None:
    interval = median_interval(range(1, count + 1), confidence=confidence)
    rank = int(stats.binom.ppf((1 - confidence) / 2, count, 0.5))
    # ppf gives the least k with P(X ≤ k) ≥ the tail: one more than may be outside.
    rank += stats.binom.cdf(rank, count, 0.5) <= (1 - confidence) / 2
    if rank < 1:
        assert interval is None
    else:
        assert interval is not None
        assert (interval.low, interval.high) == (rank, count + 1 - rank)


@pytest.mark.parametrize("count", [999, 1000, 1001, 5000, 100_000])
def test_many_samples_take_ranks_near_the_exact_ones(count: int) -> None:
    interval = median_interval(range(1, count + 1))
    assert interval is not None
    exact = stats.binom.ppf(0.025, count, 0.5)
    assert abs(interval.low - exact) <= 1
    assert interval.low + interval.high == count + 1


@pytest.mark.parametrize("name", MEDIANS)
@pytest.mark.parametrize("count", [6, 15, 60])
def test_the_interval_holds_the_median_as_often_as_it_says(name: str, count: int) -> None:
    rng = random.Random(7)
    draw, middle = DRAWS[name], MEDIANS[name]
    held = 0
    for _ in range(1500):
        interval = median_interval([draw(rng) for _ in range(count)])
        assert interval is not None
        held += interval.low <= middle <= interval.high
    # Three standard deviations of 1500 tries below 95 %.
    assert held / 1500 > 0.95 - 3 * math.sqrt(0.95 * 0.05 / 1500)


@pytest.mark.parametrize(("percent", "confidence"), [(50, 0.99), (90, 0.99), (90, 0.8), (99, 0.9)])
def test_samples_that_carry_a_percentile_reach_beyond_it(percent: float, confidence: float) -> None:
    rng = random.Random(11)
    count = samples_to_carry(percent, confidence=confidence)
    beyond = sum(max(rng.random() for _ in range(count)) >= percent / 100 for _ in range(1500))
    assert abs(beyond / 1500 - confidence) < 3 * math.sqrt(confidence * (1 - confidence) / 1500) + (
        # One sample fewer would be too few: the next whole number may carry a little more.
        (percent / 100) ** (count - 1) - (percent / 100) ** count
    )


@pytest.mark.parametrize("freedom", range(1, 31))
def test_the_table_of_student_is_scipys(freedom: int) -> None:
    assert comparison._T95[freedom - 1] == pytest.approx(stats.t.ppf(0.975, freedom), abs=5e-4)


@pytest.mark.parametrize("pairs", [3, 5, 12])
def test_the_interval_of_a_ratio_holds_it_as_often_as_it_says(pairs: int) -> None:
    rng = random.Random(13)
    held = 0
    for _ in range(600):
        old = [[rng.lognormvariate(0.0, 0.05)] for _ in range(pairs)]
        new = [[1.3 * rng.lognormvariate(0.0, 0.05)] for _ in range(pairs)]
        interval = compare_speed(old, new).interval
        assert interval is not None
        held += interval.low <= 1.3 <= interval.high
    assert abs(held / 600 - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 600)


@pytest.mark.parametrize("pairs", [3, 31, 40])
def test_what_is_alike_is_seldom_told_apart(pairs: int) -> None:
    rng = random.Random(17)
    told = [
        compare_speed(
            [[rng.lognormvariate(0.0, 0.2)] for _ in range(pairs)],
            [[rng.lognormvariate(0.0, 0.2)] for _ in range(pairs)],
        ).answer
        for _ in range(300)
    ]
    wrong = sum(answer in (Answer.FASTER, Answer.SLOWER) for answer in told)
    assert wrong / 300 < 0.05 + 3 * math.sqrt(0.95 * 0.05 / 300)


@given(st.lists(st.sampled_from([20, 30, 60]), min_size=2, max_size=4), st.integers(0, 2**32))
def test_every_process_counts_alike(sizes: list[int], seed: int) -> None:
    rng = random.Random(seed)
    processes = [[rng.randint(1, 1000) for _ in range(size)] for size in sizes]
    repeated = [value for samples in processes for value in samples * (60 // len(samples))]
    assert percentile_across(processes, 50).value == percentile(sorted(repeated), 50)


@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**32 - 1), st.floats(1e-6, 1.0))
def test_the_ratio_is_the_one_of_its_definition(
    samples: int, size: int, seed: int, noise: float
) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.normal(3.0, 1.0, (samples, size))
    got = reference + noise * rng.normal(size=reference.shape)
    centred = reference - reference.mean(axis=0)
    want = 10 * math.log10((centred**2).sum() / ((reference - got) ** 2).sum())
    told = compare(reference, got)
    assert told.snr_db == pytest.approx(want, abs=1e-6)
    assert told.max_abs_error == pytest.approx(float(np.abs(reference - got).max()))
    assert compare(reference, reference).snr_db == MOST_DB
