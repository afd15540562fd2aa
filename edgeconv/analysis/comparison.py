"""Whether a candidate is faster than a baseline, from blocks measured in turn.

Blocks come in the order A B B A A B B A …: a drift that grows evenly (heat, a neighbour's
load) is in both sides alike. Each pair of neighbours gives one ratio of medians. The
interval is Student's over the logarithms of the ratios: pairs are few, and each one is a
median of many samples already.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from edgeconv.analysis.order_statistics import Interval, median

SAME_WITHIN = 0.02

# Two-sided 95 % points of Student's t for 1 … 30 degrees of freedom.
_T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_T95_BEYOND = 2.042
_LEAST_PAIRS = 3


class Answer(StrEnum):
    """What a comparison says of the candidate."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class SpeedComparison:
    """The candidate's time over the baseline's.

    Attributes:
        ratio: Below 1 when the candidate is faster.
        interval: 95 % interval of the ratio; None with fewer than three pairs.
        pairs: Pairs of blocks.
        reason: One sentence.
    """

    answer: Answer
    ratio: float
    interval: Interval | None
    pairs: int
    reason: str


def abba(pairs: int) -> str:
    """The order of blocks for a number of pairs: "ABBAAB" for three."""
    return "".join("AB" if pair % 2 == 0 else "BA" for pair in range(pairs))


def compare_speed(
    baseline: Sequence[Sequence[float]],
    candidate: Sequence[Sequence[float]],
    *,
    same_within: float = SAME_WITHIN,
) -> SpeedComparison:
    """Compares steady-state times, one list of samples a block, in the order measured.

    Faster or slower when the interval lies on one side of 1, same when all of it lies
    within ± `same_within`, which is asked first; undecided otherwise.

    Raises:
        ValueError: there are no blocks, not as many on each side, or one without samples.
    """
    if not baseline or len(baseline) != len(candidate):
        raise ValueError(f"{len(baseline)} and {len(candidate)} blocks make no pairs")
    logs = [
        math.log(median(new) / median(old)) for old, new in zip(baseline, candidate, strict=True)
    ]
    ratio = math.exp(statistics.fmean(logs))
    interval = _interval(logs)
    answer, reason = _decide(interval, len(logs), same_within)
    return SpeedComparison(answer, ratio, interval, len(logs), reason)


def _interval(logs: Sequence[float]) -> Interval | None:
    if len(logs) < _LEAST_PAIRS:
        return None
    freedom = len(logs) - 1
    t = _T95[freedom - 1] if freedom <= len(_T95) else _T95_BEYOND
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    middle = statistics.fmean(logs)
    return Interval(math.exp(middle - half), math.exp(middle + half))


def _decide(interval: Interval | None, pairs: int, same_within: float) -> tuple[Answer, str]:
    if interval is None:
        return Answer.UNDECIDED, f"{pairs} pairs of blocks are too few; it takes {_LEAST_PAIRS}."
    span = f"The ratio lies within {interval.low:.3f}…{interval.high:.3f}"
    if interval.low >= 1 / (1 + same_within) and interval.high <= 1 + same_within:
        return Answer.SAME, f"{span}, less than {same_within:.0%} from 1."
    if interval.high < 1:
        return Answer.FASTER, f"{span}, all of it below 1."
    if interval.low > 1:
        return Answer.SLOWER, f"{span}, all of it above 1."
    return Answer.UNDECIDED, f"{span}, on both sides of 1."
