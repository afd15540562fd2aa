"""Whether a variant takes longer than its parent on the same device. Pure.

Both were measured one after another, not in turn, so a drift of the device between the
two is in their ratio. A small ratio, or few processes, therefore tells nothing.
"""

from __future__ import annotations

from edgeconv.base.quantities import format_ns
from edgeconv.results.benchmark import BenchmarkSummary, Percentile
from edgeconv.results.effect import Note

SLOWER_FROM = 1.05
"""Ratio of the medians below which a variant counts as no slower."""
LEAST_PROCESSES = 3
"""An interval goes from the lowest to the highest process; of fewer it says little."""


def pace_note(
    device: str, parent: str, before: BenchmarkSummary, after: BenchmarkSummary
) -> Note | None:
    """What to say where the median grew by at least 5 %.

    "slower" when the intervals of the two medians are apart and both are of three
    processes or more; with words of doubt when either measurement is unstable. Otherwise
    "info": it could not be decided.

    Args:
        device: On which both were measured.
        parent: Name of the variant that `before` belongs to.
        before: The parent's measurement.
        after: The variant's own.
    """
    old, new = before.percentile(50), after.percentile(50)
    if old is None or new is None or not old.value_ns or not new.value_ns:
        return None
    ratio = new.value_ns / old.value_ns
    if ratio < SLOWER_FROM:
        return None
    figures = (
        f"{ratio:.2f} × as long as {parent}"
        f" ({format_ns(new.value_ns)} against {format_ns(old.value_ns)}"
    )
    how = "measured one after another)"
    if undecided := _undecided(before, after, old, new):
        words = (
            f"On {device} it took {figures}, {how}, but whether it is slower could not be"
            f" decided: {undecided}."
        )
        return Note(kind="info", subject=device, message=words)
    unstable = [
        name
        for name, summary in (("its own", after), (f"that of {parent}", before))
        if summary.verdict == "unstable"
    ]
    if unstable:
        words = (
            f"On {device} it seems to take {figures}, {how}, but a measurement is unstable:"
            f" {' and '.join(unstable)}."
        )
    else:
        words = f"On {device} it takes {figures}, {how}."
    return Note(kind="slower", subject=device, message=words)


def _undecided(
    before: BenchmarkSummary, after: BenchmarkSummary, old: Percentile, new: Percentile
) -> str:
    fewest = min(before.processes, after.processes)
    if fewest < LEAST_PROCESSES:
        return f"it takes {LEAST_PROCESSES} processes each, and one of the two had {fewest}"
    if old.high_ns is None or new.low_ns is None:
        return "one of the two has no interval"
    if new.low_ns <= old.high_ns:
        return (
            f"its fastest process took {format_ns(new.low_ns)}, the slowest of the other"
            f" {format_ns(old.high_ns)}"
        )
    return ""
