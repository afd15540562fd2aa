"""Laws that the statistics keep for any samples."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.analysis.comparison import Answer, abba, compare_speed
from edgeconv.analysis.order_statistics import (
    median,
    median_interval,
    percentile,
    samples_to_carry,
)
from edgeconv.analysis.pareto import dominates, pareto_front
from edgeconv.analysis.percentiles import percentile_across
from edgeconv.analysis.steadiness import (
    disagreement,
    has_warmed_up,
    median_is_settled,
    relative_spread,
)

durations = st.integers(min_value=1, max_value=10**12)
series = st.lists(durations, min_size=1, max_size=200)
percents = st.floats(min_value=0.1, max_value=99.9)
points = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=12
)
DIRECTIONS = (True, False, False)


@given(series, percents)
def test_a_percentile_is_the_least_sample_with_its_share_at_or_below(
    samples: list[int], percent: float
) -> None:
    ordered = sorted(samples)
    value = percentile(ordered, percent)
    at_or_below = sum(each <= value for each in ordered) / len(ordered)
    below = sum(each < value for each in ordered) / len(ordered)
    assert value in samples
    assert at_or_below >= percent / 100 - 1e-9
    assert below < percent / 100 + 1e-9


@given(series, percents, percents)
def test_percentiles_grow_with_the_percent(samples: list[int], one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert percentile(sorted(samples), low) <= percentile(sorted(samples), high)


@given(st.floats(min_value=1, max_value=99.9), st.floats(min_value=0.5, max_value=0.999))
def test_samples_to_carry_is_the_least_number(percent: float, confidence: float) -> None:
    count = samples_to_carry(percent, confidence=confidence)
    assert 1 - (percent / 100) ** count >= confidence - 1e-12
    assert 1 - (percent / 100) ** (count - 1) < confidence + 1e-12


@given(series)
def test_the_interval_of_the_median_holds_the_median(samples: list[int]) -> None:
    interval = median_interval(samples)
    if len(samples) < 6:
        assert interval is None
    else:
        assert interval is not None
        assert interval.low <= median(samples) <= interval.high


@pytest.mark.parametrize("count", [6, 11, 40, 999, 1000, 1001])
def test_the_interval_of_the_median_has_its_coverage(count: int) -> None:
    # Ranks of uniform draws, checked against the exact binomial sum.
    interval = median_interval(range(1, count + 1))
    assert interval is not None
    rank = int(interval.low)
    outside = 2 * sum(math.comb(count, k) for k in range(rank)) / 2**count
    tighter = 2 * sum(math.comb(count, k) for k in range(rank + 1)) / 2**count
    assert interval.high == count + 1 - rank
    assert outside <= 0.0505
    assert tighter > 0.0495


@given(st.lists(st.lists(durations, max_size=60), max_size=5), percents)
def test_a_percentile_across_processes_lies_in_its_interval(
    processes: list[list[int]], percent: float
) -> None:
    estimate = percentile_across(processes, percent)
    filled = [samples for samples in processes if samples]
    assert estimate.samples == sum(len(samples) for samples in processes)
    carried = bool(filled) and len(filled) * min(map(len, filled)) >= estimate.needed
    assert (estimate.value is not None) == carried
    assert (estimate.interval is not None) == (carried and len(filled) > 1)
    if estimate.value is not None and estimate.interval is not None:
        assert estimate.interval.low <= estimate.value <= estimate.interval.high


@given(st.lists(durations, min_size=44, max_size=44), st.integers(2, 5))
def test_repeating_a_process_does_not_move_the_percentile(samples: list[int], times: int) -> None:
    once = percentile_across([samples], 90)
    again = percentile_across([samples] * times, 90)
    assert again.value == once.value


@given(series, st.integers(min_value=2, max_value=1000))
def test_noise_does_not_depend_on_the_unit(samples: list[int], factor: int) -> None:
    scaled = [sample * factor for sample in samples]
    assert relative_spread(scaled) == pytest.approx(relative_spread(samples))
    assert disagreement(scaled) == pytest.approx(disagreement(samples))


@given(durations, st.integers(min_value=10, max_value=60))
def test_a_constant_series_is_warm_and_settled(value: int, count: int) -> None:
    samples = [value] * count
    assert has_warmed_up(samples)
    assert median_is_settled(samples, within=0.0)
    assert relative_spread(samples) == 0


@given(st.integers(1, 40))
def test_abba_gives_each_side_its_blocks_and_drift_to_both(pairs: int) -> None:
    order = abba(pairs)
    assert order.count("A") == order.count("B") == pairs
    if pairs % 2 == 0:
        places = {letter: [i for i, x in enumerate(order) if x == letter] for letter in "AB"}
        assert sum(places["A"]) == sum(places["B"])


@given(
    st.integers(3, 12),
    st.floats(0.2, 5.0).filter(lambda ratio: not 0.95 < ratio < 1.06),
    st.integers(0, 2**32),
)
def test_a_clear_difference_is_told(pairs: int, ratio: float, seed: int) -> None:
    rng = random.Random(seed)
    old = [[rng.uniform(0.9999, 1.0001) for _ in range(9)] for _ in range(pairs)]
    new = [[ratio * rng.uniform(0.9999, 1.0001) for _ in range(9)] for _ in range(pairs)]
    told = compare_speed(old, new)
    assert told.answer is (Answer.FASTER if ratio < 1 else Answer.SLOWER)
    assert told.ratio == pytest.approx(ratio, rel=1e-3)


@given(st.integers(1, 12), st.integers(0, 2**32))
def test_swapping_the_sides_inverts_the_answer(pairs: int, seed: int) -> None:
    rng = random.Random(seed)
    old = [[rng.uniform(0.5, 2) for _ in range(5)] for _ in range(pairs)]
    new = [[rng.uniform(0.5, 2) for _ in range(5)] for _ in range(pairs)]
    there, back = compare_speed(old, new), compare_speed(new, old)
    opposite = {Answer.FASTER: Answer.SLOWER, Answer.SLOWER: Answer.FASTER}
    assert back.answer is opposite.get(there.answer, there.answer)
    assert back.ratio == pytest.approx(1 / there.ratio)


@given(points)
def test_every_point_is_in_the_front_or_dominated_by_it(found: list[tuple[int, ...]]) -> None:
    front = pareto_front(found, DIRECTIONS)
    assert front == sorted(front)
    assert front
    for place, point in enumerate(found):
        beaten = any(dominates(found[best], point, DIRECTIONS) for best in front)
        assert beaten is (place not in front)


@given(points)
def test_dominance_is_a_strict_order(found: list[tuple[int, ...]]) -> None:
    for one in found:
        assert not dominates(one, one, DIRECTIONS)
        for other in found:
            if dominates(one, other, DIRECTIONS):
                assert not dominates(other, one, DIRECTIONS)


@given(points, st.randoms())
def test_the_front_does_not_depend_on_the_order(
    found: list[tuple[int, ...]], rng: random.Random
) -> None:
    shuffled = found[:]
    rng.shuffle(shuffled)
    front = [found[place] for place in pareto_front(found, DIRECTIONS)]
    assert sorted(front) == sorted(shuffled[place] for place in pareto_front(shuffled, DIRECTIONS))
