"""Whether a figure that goes up and down also grows: a slope with its spread. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from scipy.stats import t as student

_BLOCKS = 8


class Verdict(Enum):
    """What a trend says of a bound."""

    FLAT = "held"
    GROWS = "MISSED"
    UNKNOWN = "UNDECIDED: too short"


@dataclass(frozen=True)
class Trend:
    """How a figure goes with another one.

    Attributes:
        slope: Units of the one for each unit of the other.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    slope: float
    low: float
    high: float

    def verdict(self, most: float) -> Verdict:
        """FLAT where the slope is at most that with all of its interval, GROWS where none is."""
        if self.high <= most:
            return Verdict.FLAT
        return Verdict.GROWS if self.low > most else Verdict.UNKNOWN


def trend(work: Sequence[float], figure: Sequence[float]) -> Trend | None:
    """The slope of `figure` over `work` by least squares over the least of each of eight blocks.

    What is under way for a moment comes on top of what stays. Looks that follow each other are
    alike, and would make the interval of a fit to all of them too narrow; blocks of many looks
    are alike much less.

    Returns:
        None where there are fewer than three looks a block, or no work was done.
    """
    if len(work) < 3 * _BLOCKS or work[0] == work[-1]:
        return None
    cuts = [round(i * len(work) / _BLOCKS) for i in range(_BLOCKS + 1)]
    spans = [slice(first, last) for first, last in pairwise(cuts)]
    x = [statistics.median(work[span]) for span in spans]
    y = [min(figure[span]) for span in spans]
    slope, intercept = statistics.linear_regression(x, y)
    rest = sum((b - slope * a - intercept) ** 2 for a, b in zip(x, y, strict=True))
    about = statistics.variance(x) * (_BLOCKS - 1)
    error = (rest / (_BLOCKS - 2) / about) ** 0.5
    spread = error * float(student.ppf(0.975, _BLOCKS - 2))
    return Trend(slope, slope - spread, slope + spread)
