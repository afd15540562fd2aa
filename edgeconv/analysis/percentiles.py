"""Percentiles over several processes.

Samples of one process are not independent of each other: they share its memory layout
and its minute. So every process counts alike, however many samples it took, and the
interval of a percentile goes across processes, from the lowest to the highest.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from edgeconv.analysis.order_statistics import Interval, percentile, samples_to_carry


@dataclass(frozen=True)
class PercentileEstimate:
    """A percentile of the samples of all processes.

    Attributes:
        value: None when there are too few samples to carry it.
        interval: From the lowest to the highest process; None as `value`, or when there
            is one process only.
        samples: How many there are, all processes.
        needed: How many it takes, each process its share of them.
    """

    percent: float
    value: float | None
    interval: Interval | None
    samples: int
    needed: int


def percentile_across(processes: Sequence[Sequence[float]], percent: float) -> PercentileEstimate:
    """A percentile over the samples of several processes; empty ones don't count."""
    ordered = [sorted(samples) for samples in processes if samples]
    samples = sum(len(each) for each in ordered)
    needed = samples_to_carry(percent)
    if not ordered or len(ordered) * min(len(each) for each in ordered) < needed:
        return PercentileEstimate(percent, None, None, samples, needed)
    each = [percentile(samples, percent) for samples in ordered]
    interval = Interval(min(each), max(each)) if len(each) > 1 else None
    return PercentileEstimate(percent, _evenly(ordered, percent), interval, samples, needed)


def _evenly(ordered: Sequence[Sequence[float]], percent: float) -> float:
    """The nearest-rank percentile with the same total weight for every process."""
    weighted = sorted((value, 1 / len(samples)) for samples in ordered for value in samples)
    # Less a little, for the rounding of the sum.
    wanted = len(ordered) * percent / 100 - 1e-6
    reached = itertools.accumulate(weight for _, weight in weighted)
    for (value, _), total in zip(weighted, reached, strict=True):
        if total >= wanted:
            return value
    return weighted[-1][0]
