"""Figures of each slice of an output: what one scale hides, another shows.

An output can hold boxes up to 640 beside scores up to 0.01. Over the whole of it nothing is
seen of the scores, so each slice of the first and of the last axis has its own figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FLAT = 1e-12
"""Share of the energy below which its variation is rounding, not signal."""

Figures = NDArray[np.float64]


@dataclass
class SliceFigures:
    """Sums along one axis of an output; arrays have one element per slice."""

    axis: int
    size: int
    noise: Figures = field(init=False, repr=False)
    energy: Figures = field(init=False, repr=False)
    spread: Figures = field(init=False, repr=False)
    error: Figures = field(init=False, repr=False)
    peak: Figures = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.noise, self.energy, self.spread, self.error, self.peak = np.zeros((5, self.size))

    def add(self, reference: Figures, error: Figures, spread: Figures) -> None:
        """Takes one sample in; `spread` is its share of the sum of squares around the mean."""
        others = tuple(axis for axis in range(reference.ndim) if axis != self.axis)
        self.noise += np.sum(error * error, axis=others)
        self.energy += np.sum(reference * reference, axis=others)
        self.spread += np.sum(spread, axis=others)
        self.error = np.maximum(self.error, np.abs(error).max(axis=others, initial=0))
        self.peak = np.maximum(self.peak, np.abs(reference).max(axis=others, initial=0))

    def ratios(self) -> Figures:
        """dB of each slice; NaN where it does not vary, infinity where it is equal."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = 10 * np.log10(self.spread / self.noise)
        return np.where(self.spread <= FLAT * self.energy, np.nan, ratios)

    def wrong(self, least_db: float, own_share: float, floor: float) -> NDArray[np.intp]:
        """The slices with an error beyond rounding that don't reach a ratio.

        Args:
            own_share: An error up to this share of the slice's largest value is rounding.
            floor: Likewise an error up to this.
        """
        lost = self.error > np.maximum(own_share * self.peak, floor)
        ratios = self.ratios()
        flat = np.isnan(ratios)
        missed = np.where(flat, self.error > 10 ** (-least_db / 20) * self.peak, ratios < least_db)
        return np.flatnonzero(lost & missed)

    def lost_share(self, least_db: float) -> float:
        """Share of the slices that vary which don't reach a ratio; 0 when none varies."""
        ratios = self.ratios()
        varying = ratios[~np.isnan(ratios)]
        return float(np.mean(varying < least_db)) if varying.size else 0.0


def slices_of(shape: tuple[int, ...]) -> list[SliceFigures]:
    """Empty figures for the first and the last axis of a sample that have more than one slice.

    A single axis of that kind is looked at too: its slices are the elements.
    """
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    return [SliceFigures(axis, shape[axis]) for axis in sorted({*axes[:1], *axes[-1:]})]
