"""Dominance and the Pareto front over any number of objectives."""

from __future__ import annotations

import math
from collections.abc import Sequence


def dominates(
    left: Sequence[float], right: Sequence[float], higher_is_better: Sequence[bool]
) -> bool:
    """Whether `left` is at least as good in every objective and better in one.

    Raises:
        ValueError: the lengths differ, or a value is NaN: what was not measured can't be
            ranked; leave such points out.
    """
    better = False
    for one, other, higher in zip(left, right, higher_is_better, strict=True):
        if math.isnan(one) or math.isnan(other):
            raise ValueError("NaN can't be ranked")
        if one == other:
            continue
        if (one > other) is not higher:
            return False
        better = True
    return better


def pareto_front(points: Sequence[Sequence[float]], higher_is_better: Sequence[bool]) -> list[int]:
    """Places of the points that no other one dominates, in ascending order.

    Equal points are all in the front or all out of it.

    Args:
        points: One sequence of objectives a point, for example (accuracy, p50, bytes).
        higher_is_better: For each objective; (True, False, False) in the example.

    Raises:
        ValueError: a point has another number of objectives, or a NaN.
    """
    return [
        place
        for place, point in enumerate(points)
        if not any(dominates(other, point, higher_is_better) for other in points)
    ]
