"""The front over quality, latency and size."""

from __future__ import annotations

import math

import pytest

from edgeconv.analysis.pareto import dominates, pareto_front

# accuracy (higher is better), p50 ms, bytes
DIRECTIONS = (True, False, False)


def test_a_front_of_variants() -> None:
    variants = [
        (0.98, 4.0, 600),  # the best quality
        (0.97, 1.3, 160),  # the best latency
        (0.97, 1.4, 160),  # slower than that one, else the same
        (0.95, 2.0, 120),  # the smallest
        (0.90, 5.0, 700),  # worse than all
    ]
    assert pareto_front(variants, DIRECTIONS) == [0, 1, 3]


def test_equal_points_share_the_front() -> None:
    assert pareto_front([(1, 1, 1), (1, 1, 1), (0, 1, 1)], DIRECTIONS) == [0, 1]


def test_no_points_and_one_point() -> None:
    assert pareto_front([], DIRECTIONS) == []
    assert pareto_front([(0, 0, 0)], DIRECTIONS) == [0]


def test_directions() -> None:
    assert dominates((2,), (1,), (True,))
    assert dominates((1,), (2,), (False,))
    assert not dominates((1,), (1,), (True,))


def test_infinite_latency_is_ranked_and_nan_is_not() -> None:
    assert dominates((1.0, 2.0), (1.0, math.inf), (True, False))
    with pytest.raises(ValueError, match="NaN"):
        pareto_front([(1.0, math.nan), (1.0, 2.0)], (True, False))


def test_points_need_all_objectives() -> None:
    with pytest.raises(ValueError, match=r"zip\(\)"):
        pareto_front([(1.0, 2.0), (1.0,)], (True, False))
