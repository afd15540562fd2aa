"""Bars: latency percentiles, the wait for a first answer, and where a job's time went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from edgeconv.base.quantities import format_bytes, format_ns
from edgeconv.report import cells
from edgeconv.report.pareto_plot import target_class
from edgeconv.report.rows import Row
from edgeconv.report.svg import Axis, axis_over, bottom_ticks, drawing, element, text, title
from edgeconv.results.job import StepResult

_WIDTH, _LINE, _TOP = 860.0, 26.0, 8.0
_LEFT, _RIGHT, _BOTTOM = 176.0, 236.0, 30.0
_BAR = 14.0
_WAIT_PHASES = ("cold_load", "first_inference")


def plot_latency(table: Sequence[Row]) -> Markup | None:
    """Steady-state p50 as bars with their intervals, p90 and p99 as ticks; None if not measured."""
    shown = [row for row in table if _value(row, 50)]
    if not shown:
        return None
    largest = (_high(row, percent) for row in shown for percent in (50, 90, 99))
    axis = axis_over(largest, _LEFT, _WIDTH - _RIGHT, from_zero=True)
    parts = [_scale(axis, len(shown))]
    for index, row in enumerate(shown):
        top = _TOP + index * _LINE
        parts += [_name(row.variant.name, top), *_latency_marks(row, axis, top)]
        words = "   ".join(
            f"p{percent} {cells.percentile_text(row, percent)}" for percent in (50, 90)
        )
        parts.append(text(words, x=_WIDTH - _RIGHT + 16, y=top + 15, class_="figure"))
    return drawing(_WIDTH, _height(len(shown)), "Latency percentiles by variant", parts)


def plot_wait(table: Sequence[Row]) -> Markup | None:
    """Cold load and first inference end to end: what a user waits for; None if not measured."""
    shown = [row for row in table if row.summary and _phase_ns(row, "first_inference")]
    if not shown:
        return None
    totals = (sum(_phase_ns(row, phase) for phase in _WAIT_PHASES) for row in shown)
    axis = axis_over(totals, _LEFT, _WIDTH - _RIGHT, from_zero=True)
    parts = [_scale(axis, len(shown))]
    for index, row in enumerate(shown):
        top = _TOP + index * _LINE
        parts.append(_name(row.variant.name, top))
        begin = 0
        for phase in _WAIT_PHASES:
            end = begin + _phase_ns(row, phase)
            words = f"{phase.replace('_', ' ')}: {format_ns(end - begin)}"
            parts.append(_bar(axis, begin, end, top, f"phase-{phase}", words))
            begin = end
        parts.append(text(format_ns(begin), x=axis(begin) + 8, y=top + 15, class_="figure"))
    return drawing(_WIDTH, _height(len(shown)), "Cold load and first inference", parts)


def plot_steps(steps: Sequence[StepResult]) -> Markup | None:
    """A job's steps one after another on one axis of time; None when there are none."""
    total = sum(step.wall_ns for step in steps)
    if not total:
        return None
    axis = axis_over([total], _LEFT + 60, _WIDTH - _RIGHT + 60, from_zero=True)
    parts = [_scale(axis, len(steps))]
    begin = 0
    for index, step in enumerate(steps):
        top = _TOP + index * _LINE
        end = begin + step.wall_ns
        kind = "reused" if step.reused else "ran"
        duration = format_ns(step.wall_ns)
        words = f"{step.id}: {duration}, peak {format_bytes(step.peak_memory_bytes)}"
        parts.append(_name(step.id, top, _LEFT + 60))
        parts.append(_bar(axis, begin, end, top, f"step-{kind}", words))
        figure = "reused" if step.reused else duration
        if step.peak_memory_bytes:
            figure += f"   peak {format_bytes(step.peak_memory_bytes)}"
        parts.append(text(figure, x=_WIDTH - _RIGHT + 76, y=top + 15, class_="figure"))
        begin = end if not step.reused else begin
    return drawing(_WIDTH, _height(len(steps)), "Time of each step", parts)


def _height(lines: int) -> float:
    return _TOP + lines * _LINE + _BOTTOM


def _scale(axis: Axis, lines: int) -> Markup:
    return bottom_ticks(axis, _TOP - 4, _TOP + lines * _LINE, format_ns)


def _name(words: str, top: float, end: float = _LEFT) -> Markup:
    short = words if len(words) <= 34 else f"{words[:33]}…"
    return text(short, x=end - 10, y=top + 15, class_="name end")


def _bar(axis: Axis, begin: float, end: float, top: float, kind: str, words: str) -> Markup:
    width = max(1.0, axis(end) - axis(begin))
    y = top + (_LINE - _BAR) / 2 - 2
    return element(
        "rect", title(words), x=axis(begin), y=y, width=width, height=_BAR, rx=2, class_=kind
    )


def _latency_marks(row: Row, axis: Axis, top: float) -> Iterable[Markup]:
    median = row.percentile(50)
    if median is None or median.value_ns is None:
        return
    colour = target_class(row.variant.target)
    words = f"p50 {format_ns(median.value_ns)}, interval {cells.interval_text(row, 50) or 'n/a'}"
    yield _bar(axis, 0, median.value_ns, top, f"bar {colour}", words)
    middle = top + _LINE / 2 - 2
    for percent, reach in ((90, 8.0), (99, 5.0)):
        value = _value(row, percent)
        if not value:
            continue
        words = f"p{percent} {format_ns(value)}, interval {cells.interval_text(row, percent)}"
        yield element(
            "line", title(words), x1=axis(value), x2=axis(value), y1=middle - reach,
            y2=middle + reach, class_=f"percentile {colour}",
        )  # fmt: skip
    if median.low_ns is not None and median.high_ns is not None:
        yield element(
            "line", x1=axis(median.low_ns), x2=axis(median.high_ns), y1=middle, y2=middle,
            class_="interval",
        )  # fmt: skip


def _value(row: Row, percent: float) -> int:
    percentile = row.percentile(percent)
    return (percentile.value_ns or 0) if percentile else 0


def _high(row: Row, percent: float) -> int:
    percentile = row.percentile(percent)
    if percentile is None:
        return 0
    return max(percentile.value_ns or 0, (percentile.high_ns or 0) if percent == 50 else 0)


def _phase_ns(row: Row, phase: str) -> int:
    summary = row.summary
    phases = summary.phases if summary else ()
    return next((each.median_ns or 0 for each in phases if each.phase == phase), 0)
