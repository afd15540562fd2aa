"""Outputs that hardly vary, shapes that differ, and points that can't be ranked."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeconv.analysis.agreement import OutputComparison, accuracy, compare, is_floating
from edgeconv.analysis.comparison import Answer, compare_speed
from edgeconv.analysis.order_statistics import percentile, samples_to_carry
from edgeconv.analysis.pareto import dominates, pareto_front
from edgeconv.analysis.percentiles import percentile_across

RNG = np.random.default_rng(5)


@pytest.mark.parametrize(("jitter", "varies"), [(1e-10, False), (1e-8, False), (1e-4, True)])
def test_rounding_around_a_constant_is_no_signal(jitter: float, varies: bool) -> None:
    reference = 100.0 * (1 + jitter * RNG.standard_normal((16, 8)))
    figures = compare(reference, reference + 1e-3)
    assert (figures.snr_db is not None) == varies
    assert figures.max_abs_reference == pytest.approx(100, rel=1e-2)


def test_one_sample_tells_no_ratio_and_two_do() -> None:
    reference = RNG.standard_normal((2, 4))
    assert compare(reference[:1], reference[:1] + 1).snr_db is None
    assert compare(reference, reference + 1).snr_db is not None


def test_a_scalar_per_sample_has_no_largest_element() -> None:
    figures = compare(np.arange(4.0), np.arange(4.0))
    assert figures.argmax_agreement is None
    assert figures.equal_share == 1


@pytest.mark.parametrize(("one", "other"), [((3, 2), (3, 1)), ((3, 2), (2, 2)), ((0, 2), (1, 2))])
def test_shapes_that_differ_are_not_compared(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="differ"):
        compare(np.zeros(one), np.zeros(other))
    with pytest.raises(ValueError, match="differ"):
        OutputComparison(is_floating=True).add(np.zeros(one), np.zeros(other))


def test_two_classes_are_classes_and_one_is_none() -> None:
    assert accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1, 1])) == 0.5
    for scores in (np.zeros((4, 1)), np.zeros(4)):
        with pytest.raises(ValueError, match="hold no classes"):
            accuracy(scores, np.zeros(4, int))


def test_floats_of_any_width_are_floats() -> None:
    assert is_floating(np.zeros(1, np.float16))
    assert not is_floating(np.zeros(1, np.int8))
    assert not is_floating(np.zeros(1, bool))


@pytest.mark.parametrize("points", [(math.nan, 1.0), (1.0, math.nan), (math.nan, math.nan)])
def test_nan_is_never_ranked(points: tuple[float, float]) -> None:
    for higher in (True, False):
        with pytest.raises(ValueError, match="NaN"):
            dominates([points[0]], [points[1]], [higher])
    with pytest.raises(ValueError, match="NaN"):
        pareto_front([[each] for each in points], [True])


def test_a_point_with_another_number_of_objectives_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        dominates([1.0, 2.0], [1.0], [True, True])
    with pytest.raises(ValueError, match="zip"):
        dominates([1.0, 2.0], [1.0, 2.0], [True])


def test_equal_in_all_dominates_nothing() -> None:
    assert not dominates([1.0, 2.0], [1.0, 2.0], [True, False])
    assert pareto_front([(1.0, 2.0), (1.0, 2.0)], [True, False]) == [0, 1]


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.1, 1.1])
def test_confidence_is_inside_its_range(confidence: float) -> None:
    with pytest.raises(ValueError, match="must lie inside"):
        samples_to_carry(90, confidence=confidence)


def test_a_rank_is_not_moved_by_how_shares_are_written_in_binary() -> None:
    for count in range(1, 400):
        for percent in (7.0, 14.0, 28.0, 29.0, 55.0, 56.0, 57.0):
            exact = -(-count * int(percent) // 100)
            assert percentile(range(1, count + 1), percent) == max(exact, 1)


def test_the_highest_percentile_is_the_largest_sample_of_all() -> None:
    processes = [list(range(1, 500)), list(range(101, 600))]
    estimate = percentile_across(processes, 99.0)
    assert estimate.value == 590
    assert percentile_across([[1] * 250, [2] * 250], 50).value == 1


def test_three_pairs_decide_and_two_do_not() -> None:
    two = compare_speed([[2.0]] * 2, [[1.0]] * 2)
    three = compare_speed([[2.0]] * 3, [[1.0]] * 3)
    assert (two.answer, three.answer) == (Answer.UNDECIDED, Answer.FASTER)
    assert two.interval is None
    with pytest.raises(ValueError, match="make no pairs"):
        compare_speed([[1.0]] * 3, [[1.0]] * 2)
