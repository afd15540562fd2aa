"""Small SVG drawings, built from escaped parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

from edgeconv.report.printable import printable


def element(tag: str, *children: Markup, **attributes: str | float) -> Markup:
    """An element. A trailing "_" of an attribute's name is dropped, other "_" become "-"."""
    written = Markup("").join(
        Markup(' {}="{}"').format(name.rstrip("_").replace("_", "-"), _number(value))
        for name, value in attributes.items()
    )
    return Markup("<{}{}>{}</{}>").format(
        Markup(tag), written, Markup("").join(children), Markup(tag)
    )


def text(words: str, **attributes: str | float) -> Markup:
    """A text element; the words are made printable and escaped."""
    return element("text", escape(printable(words)), **attributes)


def title(words: str) -> Markup:
    """What a reader sees on pointing at the element around it."""
    return element("title", escape(printable(words)))


def drawing(width: float, height: float, label: str, parts: Iterable[Markup]) -> Markup:
    """A whole drawing that scales with the page; `label` is what it shows, in words."""
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        role="img",
        aria_label=printable(label),
        xmlns="http://www.w3.org/2000/svg",
    )


@dataclass(frozen=True)
class Axis:
    """From values to positions, with round ticks."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Round values inside the axis, about `count` of them."""
        step = round_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


def round_step(step: float) -> float:
    """The next of 1, 2, 2.5 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(
        factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9)
    )


def axis_over(
    values: Iterable[float],
    start: float,
    end: float,
    *,
    from_zero: bool = False,
    ceiling: float = math.inf,
) -> Axis:
    """An axis that holds all values with a margin; never above `ceiling`."""
    known = list(values)
    low, high = (0.0 if from_zero else min(known)), max(known)
    if high - low < 1e-9 * max(1.0, abs(high)):
        margin = max(abs(high) * 0.05, 1e-3)
        low, high = (low if from_zero else low - margin), high + margin
    margin = (high - low) * 0.08
    return Axis(low if from_zero else low - margin, min(high + margin, ceiling), start, end)


def bottom_ticks(axis: Axis, top: float, bottom: float, write: Callable[[float], str]) -> Markup:
    """Grid lines and their values for an axis at the bottom."""
    parts = []
    for value in axis.ticks():
        x = axis(value)
        parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(text(write(value) if value else "0", x=x, y=bottom + 18, class_="tick middle"))
    return Markup("").join(parts)


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
