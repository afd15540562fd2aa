"""Percentiles and intervals that assume no distribution: ranks of sorted samples.

The interval of the median is the classical one by the sign test (Conover, Practical
Nonparametric Statistics, 3.2): of n independent draws, the number below the median is
binomial with p = 1/2.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_EXACT_BELOW = 1000


@dataclass(frozen=True)
class Interval:
    """A closed interval, in the unit of the samples."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """Its length."""
        return self.high - self.low


def samples_to_carry(percent: float, *, confidence: float = 0.99) -> int:
    """Least number of independent samples whose largest bounds a percentile.

    With fewer, not even the maximum is above the percentile at that confidence, so that
    the samples can't carry any claim about it: 7 for p50, 44 for p90, 459 for p99.

    Raises:
        ValueError: percent or confidence is not inside its open range.
    """
    if not 0 < percent < 100 or not 0 < confidence < 1:
        raise ValueError(f"percent {percent} and confidence {confidence} must lie inside")
    return math.ceil(math.log(1 - confidence) / math.log(percent / 100))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the least sample with at least that share at or below it.

    Args:
        ordered: Samples in ascending order, at least one.

    Raises:
        ValueError: there are no samples, or percent is not within 0…100.
    """
    if not ordered:
        raise ValueError("there are no samples")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent {percent} is not within 0…100")
    # Rounded first: 0.07 · 100 is a little more than 7 in binary.
    rank = math.ceil(round(len(ordered) * percent / 100, 9))
    return ordered[max(rank, 1) - 1]


def median(values: Sequence[float]) -> float:
    """The middle one of the values, or the mean of the two in the middle.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("there are no values")
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def median_interval(values: Sequence[float], *, confidence: float = 0.95) -> Interval | None:
    """An interval that holds the median with at least that confidence.

    Returns:
        None when there are too few values for any: at 95 % below 6.
    """
    rank = _lower_rank(len(values), confidence)
    if rank < 1:
        return None
    ordered = sorted(values)
    return Interval(ordered[rank - 1], ordered[-rank])


@functools.lru_cache(maxsize=4096)
def _lower_rank(count: int, confidence: float) -> int:
    """The largest r for which ranks r and count - r + 1 enclose the median; 0 for none."""
    tail = (1 - confidence) / 2
    if count >= _EXACT_BELOW:
        z = NormalDist().inv_cdf(1 - tail)
        return max(math.floor((count - z * math.sqrt(count)) / 2), 0)
    below, rank, ways = 0, 0, 1
    allowed = math.floor(tail * 2**count)
    while below + ways <= allowed:
        below += ways
        ways = ways * (count - rank) // (rank + 1)
        rank += 1
    return rank
