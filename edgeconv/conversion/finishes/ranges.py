"""One observer for every runtime's tensors: true minimum and maximum, or a percentile.

The quantizers' own observers differ: a moving average of each sample's extremes, which
clips, in one; per-batch extremes in the other. Seen by one observer both files get the
same ranges, and agree with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.analysis.masks import ALWAYS_MASK
from edgeconv.conversion.finishes.scores import Floors, Scores
from edgeconv.recipe.specs import Int8StaticOptions

Values = Iterator[Mapping[str, NDArray[Any]]]
_BINS = 8192


@dataclass(frozen=True)
class Range:
    """The closed range of a tensor's values, zero included."""

    low: float
    high: float


@dataclass
class _Extremes:
    low: float = np.inf
    high: float = -np.inf

    def add(self, values: NDArray[np.float32]) -> None:
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))


@dataclass
class _Histogram:
    extremes: _Extremes
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, dtype=np.int64))

    def add(self, values: NDArray[np.float32]) -> None:
        bounds = (self.extremes.low, self.extremes.high)
        # In single precision a narrow range does not have so many numbers.
        self.counts += np.histogram(values.astype(np.float64), bins=_BINS, range=bounds)[0]

    def cut(self, percentile: float) -> tuple[float, float]:
        """The least range that leaves (100 - percentile)/2 % of the values on each side."""
        edges = np.linspace(self.extremes.low, self.extremes.high, _BINS + 1)
        total = int(self.counts.sum())
        outside = total * (100 - percentile) / 200
        below = np.cumsum(self.counts)
        first = int(np.searchsorted(below, outside, side="right"))
        last = int(np.searchsorted(below, total - outside, side="left"))
        return float(edges[first]), float(edges[min(last, _BINS - 1) + 1])


def observe(
    run: Callable[[], Values], options: Int8StaticOptions, scores: Sequence[Scores] = ()
) -> dict[str, Range]:
    """Ranges of all float32 tensors over the calibration samples.

    Args:
        run: Goes through the samples; each step gives tensor name → values of one sample.
            It is called twice for percentiles: extremes first, then how values lie
            between them.
        options: Method and percentile.
        scores: Tensors of which only a Softmax is made. Their ranges end below where nothing
            of a value is left in the Softmax.

    Returns:
        Tensor name → range. Zero lies in every one, so that it is exact in integers.
    """
    extremes: dict[str, _Extremes] = {}
    floors = Floors(scores)
    for values in run():
        floors.add(values)
        for name, array in _floats(values):
            extremes.setdefault(name, _Extremes()).add(array)
    cut_off = floors.floors({name: each.high for name, each in extremes.items()})
    for name, floor in cut_off.items():
        if name in extremes:
            extremes[name].low = floor
    found = {name: (each.low, each.high) for name, each in extremes.items()}
    if options.method == "percentile" and options.percentile < 100:
        histograms = {
            name: _Histogram(each) for name, each in extremes.items() if each.low < each.high
        }
        for values in run():
            for name, array in _floats(values):
                if name in histograms:
                    histograms[name].add(array)
        found |= {name: each.cut(options.percentile) for name, each in histograms.items()}
    found |= {k: (floor, found[k][1]) for k, floor in cut_off.items() if k in found}
    return {name: Range(min(low, 0.0), max(high, 0.0)) for name, (low, high) in found.items()}


def _floats(values: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name, array in values.items():
        if array.dtype == np.float32 and array.size:
            if max(-float(array.min()), float(array.max())) < ALWAYS_MASK:
                yield name, array
                continue
            # No range should follow a mask: nothing else would be left in 8 bits.
            usable = array[np.isfinite(array) & (np.abs(array) < ALWAYS_MASK)]
            if usable.size:
                yield name, usable
