"""Percentiles over several processes.

Samples of one process are not independent of each other: they share its memory layout
and its minute. So the interval of a percentile goes across processes, from the lowest to
the highest process.
"""

from __future__ import annotations

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
        samples: How many there are.
        needed: How many it takes.
    """

    percent: float
    value: float | None
    interval: Interval | None
    samples: int
    needed: int


def percentile_across(processes: Sequence[Sequence[float]], percent: float) -> PercentileEstimate:
    """A percentile over the samples of several processes; empty ones don't count."""
    ordered = [sorted(samples) for samples in processes if samples]
    pooled = sorted(sample for samples in ordered for sample in samples)
    needed = samples_to_carry(percent)
    if len(pooled) < needed:
        return PercentileEstimate(percent, None, None, len(pooled), needed)
    each = [percentile(samples, percent) for samples in ordered]
    interval = Interval(min(each), max(each)) if len(each) > 1 else None
    return PercentileEstimate(percent, percentile(pooled, percent), interval, len(pooled), needed)
