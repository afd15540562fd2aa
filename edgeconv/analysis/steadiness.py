"""Whether a series of samples has settled, and how far series disagree."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.analysis.order_statistics import median, median_interval

WINDOW = 5
WITHIN = 0.05


def has_warmed_up(
    samples: Sequence[float], *, window: int = WINDOW, within: float = WITHIN
) -> bool:
    """Whether the last samples are no faster than those before them.

    The medians of the last two windows must lie within a share of each other.
    """
    if len(samples) < 2 * window:
        return False
    before = median(samples[-2 * window : -window])
    last = median(samples[-window:])
    return abs(last - before) <= within * before


def median_is_settled(samples: Sequence[float], *, within: float) -> bool:
    """Whether the 95 % interval of the median lies within ± a share of the median."""
    interval = median_interval(samples)
    return interval is not None and interval.width <= 2 * within * median(samples)


def disagreement(values: Sequence[float]) -> float:
    """How far values lie apart, as a share of their median; 0 for fewer than two.

    Raises:
        ValueError: the median is 0.
    """
    if len(values) < 2:
        return 0.0
    middle = median(values)
    if middle == 0:
        raise ValueError("values around 0 have no relative distance")
    return (max(values) - min(values)) / abs(middle)


def relative_spread(samples: Sequence[float]) -> float:
    """Noise of a series: the median distance from the median, as a share of the median.

    Raises:
        ValueError: there are no samples, or their median is 0.
    """
    middle = median(samples)
    if middle == 0:
        raise ValueError("values around 0 have no relative spread")
    return median([abs(sample - middle) for sample in samples]) / abs(middle)
