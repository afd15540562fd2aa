"""Quality against latency, with size as the area: where each variant stands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgeconv.base.quantities import format_bytes, format_ns
from edgeconv.report import cells
from edgeconv.report.rows import Row
from edgeconv.report.svg import Axis, axis_over, bottom_ticks, drawing, element, text, title

_WIDTH, _HEIGHT = 860.0, 450.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 24.0, 40.0, 52.0
_MAX_RADIUS, _MIN_RADIUS = 19.0, 4.5
_CHAR_WIDTH, _LINE_HEIGHT = 6.6, 14.0


@dataclass(frozen=True)
class _Point:
    row: Row
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    width: float
    height: float

    def overlaps(self, other: _Box) -> bool:
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and self.top < other.top + other.height
            and other.top < self.top + self.height
        )


def plot_pareto(table: Sequence[Row]) -> Markup | None:
    """The plot, or None when fewer than two variants have a quality and a place on the axis.

    The horizontal axis is the median latency, or the size when nothing was measured. All
    rows must be of one device.
    """
    shown = _comparable(table)
    timed = [row for row in shown if _median_ns(row)]
    shown = timed or shown
    if len(shown) < 2:
        return None
    horizontal = axis_over(
        (_abscissa(row, bool(timed)) for row in shown), _LEFT, _WIDTH - _RIGHT, from_zero=True
    )
    qualities = [row.quality.value for row in shown if row.quality]
    share = any(row.quality.is_share for row in shown if row.quality)
    vertical = axis_over(qualities, _HEIGHT - _BOTTOM, _TOP, ceiling=1.002 if share else math.inf)
    points = _points(shown, horizontal, vertical, bool(timed))
    parts = [
        _grid(horizontal, vertical, share, bool(timed), cells.quality_heading(shown)),
        *(_mark(point) for point in points),
        *_labels(points),
    ]
    label = f"{cells.quality_heading(shown)} against {'latency' if timed else 'size'} by variant"
    return drawing(_WIDTH, _HEIGHT, label, parts)


def _comparable(table: Sequence[Row]) -> list[Row]:
    """Verified variants that share the most common figure of quality."""
    rated = [row for row in table if row.quality and row.variant.state == "verified"]
    names = [row.quality.name for row in rated if row.quality]
    common = max(names, key=names.count, default="")
    return [row for row in rated if row.quality and row.quality.name == common]


def _median_ns(row: Row) -> int:
    percentile = row.percentile(50)
    return (percentile.value_ns or 0) if percentile else 0


def _abscissa(row: Row, timed: bool) -> float:
    return _median_ns(row) if timed else row.variant.size_bytes


def _points(shown: Sequence[Row], across: Axis, up: Axis, timed: bool) -> list[_Point]:
    largest = max(row.variant.size_bytes for row in shown) or 1
    points = [
        _Point(
            row,
            across(_abscissa(row, timed)),
            up(row.quality.value if row.quality else 0),
            max(_MIN_RADIUS, _MAX_RADIUS * math.sqrt(row.variant.size_bytes / largest)),
        )
        for row in shown
    ]
    # Large ones first, so that small ones are drawn over them.
    return sorted(points, key=lambda point: -point.radius)


def _grid(across: Axis, up: Axis, share: bool, timed: bool, heading: str) -> Markup:
    write = format_ns if timed else format_bytes
    parts = [bottom_ticks(across, _TOP, _HEIGHT - _BOTTOM, write)]
    for value in up.ticks():
        y = up(value)
        parts.append(element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        words = f"{100 * value:.4g} %" if share else f"{value:.4g} dB"
        parts.append(text(words, x=_LEFT - 8, y=y + 4, class_="tick end"))
    name = "median latency (lower is better)" if timed else "size (lower is better)"
    parts.append(text(name, x=_WIDTH - _RIGHT, y=_HEIGHT - 10, class_="axis end"))
    parts.append(text(f"{heading} (higher is better)", x=_LEFT, y=14.0, class_="axis"))
    return Markup("").join(parts)


def _mark(point: _Point) -> Markup:
    variant = point.row.variant
    front = "front" if variant.on_pareto_front else "behind"
    words = ", ".join(
        [
            variant.name,
            cells.quality_text(point.row.quality),
            cells.size_text(point.row),
            f"median {cells.percentile_text(point.row, 50)}",
        ]
    )
    return element(
        "circle",
        title(words),
        cx=point.x,
        cy=point.y,
        r=point.radius,
        class_=f"mark {target_class(variant.target)} {front}",
    )


def target_class(target: str) -> str:
    """The class that colours a target."""
    return f"target-{target}" if target in ("onnx", "tflite") else "target-other"


def _labels(points: Sequence[_Point]) -> Iterator[Markup]:
    """Names beside their marks; one that finds no free place is left to its title."""
    taken = [_mark_box(point) for point in points]
    for point in sorted(points, key=lambda each: not each.row.variant.on_pareto_front):
        words = point.row.variant.name
        width = _CHAR_WIDTH * min(len(words), 28)
        place = next(
            (
                box
                for box in _places(point, width)
                if _inside(box) and not any(box.overlaps(other) for other in taken)
            ),
            None,
        )
        if place is None:
            continue
        taken.append(place)
        front = "front" if point.row.variant.on_pareto_front else "behind"
        short = words if len(words) <= 28 else f"{words[:27]}…"
        yield text(short, x=place.left, y=place.top + 11, class_=f"label {front}")


def _mark_box(point: _Point) -> _Box:
    inner = point.radius * 0.8
    return _Box(point.x - inner, point.y - inner, 2 * inner, 2 * inner)


def _places(point: _Point, width: float) -> Iterator[_Box]:
    gap = point.radius + 4
    middle = point.y - _LINE_HEIGHT / 2
    above, below = point.y - gap - _LINE_HEIGHT, point.y + gap
    for left, top in (
        (point.x + gap, middle),
        (point.x - gap - width, middle),
        (point.x - width / 2, above),
        (point.x - width / 2, below),
        (point.x + gap * 0.7, above + gap * 0.3),
        (point.x + gap * 0.7, below - gap * 0.3),
        (point.x - gap * 0.7 - width, above + gap * 0.3),
        (point.x - gap * 0.7 - width, below - gap * 0.3),
        (point.x + gap, above - _LINE_HEIGHT),
        (point.x + gap, below + _LINE_HEIGHT),
    ):
        yield _Box(left, top, width, _LINE_HEIGHT)


def _inside(box: _Box) -> bool:
    return (
        box.left >= _LEFT
        and box.left + box.width <= _WIDTH - 2
        and box.top >= _TOP
        and box.top + box.height <= _HEIGHT - _BOTTOM
    )
