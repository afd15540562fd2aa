"""How far outputs agree with a reference; nothing is read at once but one sample.

The signal of the signal-to-noise ratio is what varies over samples: an output that is
mostly a constant would look good under any fault otherwise. Masks, values far beyond all
others that stand for "never", are compared for themselves: one of them would make any error
beside it small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.analysis.masks import ALWAYS_MASK, LOWEST, mask_level
from edgeconv.analysis.slices import FLAT, SliceFigures, slices_of
from edgeconv.base.quantities import MOST_DB

_TIE = 1e-6
"""Values this share of their row's largest apart are equal but for rounding."""


@dataclass
class OutputComparison:
    """Figures of one output, gathered sample by sample.

    Integers and bools are compared for equality, floats by distance. Distances leave out
    pairs that are not finite; `finite` judges those.

    Attributes:
        finite: NaN and either infinity are only where the reference has the same.
        lowest_for_infinity: How many numbers at most `LOWEST` stand for the reference's
            -infinity, which counts as the same.
        reference_nans: How many elements of the reference are NaN.
        mask_from: Elements of the reference of at least this absolute value are masks (see
            `mask_level`): neither peak nor ratio nor error count them.
        mask_error: How far the worst mask is off, as a share of itself.
        slices: Figures along the first and the last axis.
    """

    is_floating: bool
    mask_from: float = ALWAYS_MASK
    samples: int = 0
    finite: bool = True
    lowest_for_infinity: int = 0
    reference_nans: int = 0
    mask_error: float = 0.0
    slices: list[SliceFigures] = field(default_factory=list, repr=False)
    shape: tuple[int, ...] = ()
    max_abs_error: float = 0.0
    max_abs_reference: float = 0.0
    _noise: float = 0.0
    _energy: float = 0.0
    _spread: float = 0.0
    _mean: NDArray[np.float64] | None = field(default=None, repr=False)
    _elements: int = 0
    _equal: int = 0
    _rows: int = 0
    _same_argmax: int = 0

    def add(self, reference: NDArray[Any], got: NDArray[Any]) -> None:
        """Takes one sample in.

        Args:
            reference: One sample of the reference, of any shape.
            got: The same sample of the artifact, of that shape.

        Raises:
            ValueError: the shapes differ.
        """
        if reference.shape != got.shape:
            raise ValueError(f"shapes {reference.shape} and {got.shape} differ")
        if not self.samples:
            self.shape = reference.shape
            self.slices = slices_of(reference.shape) if self.is_floating else []
        self.samples += 1
        self._elements += reference.size
        self._equal += int(np.count_nonzero(reference == got))
        self._count_argmax(reference, got)
        if self.is_floating:
            self._add_floats(reference.astype(np.float64), got.astype(np.float64))

    def _add_floats(self, reference: NDArray[np.float64], got: NDArray[np.float64]) -> None:
        usable = np.isfinite(reference) & np.isfinite(got)
        if not usable.all():
            self._add_infinities(reference[~usable], got[~usable])
        masks = usable & (np.abs(reference) >= self.mask_from)
        if masks.any():
            self._add_masks(reference[masks], got[masks])
            usable &= ~masks
        reference, got = np.where(usable, reference, 0), np.where(usable, got, 0)
        error = reference - got
        self.max_abs_error = max(self.max_abs_error, float(np.abs(error).max(initial=0)))
        peak = float(np.abs(reference).max(initial=0))
        self.max_abs_reference = max(self.max_abs_reference, peak)
        self._noise += float(np.sum(error * error))
        self._energy += float(np.sum(reference * reference))
        spread = self._add_spread(reference)
        for each in self.slices:
            each.add(reference, error, spread)

    def _add_masks(self, reference: NDArray[np.float64], got: NDArray[np.float64]) -> None:
        off = float(np.max(np.abs(got - reference) / np.abs(reference)))
        self.mask_error = max(self.mask_error, off)

    def _add_infinities(self, reference: NDArray[np.float64], got: NDArray[np.float64]) -> None:
        """Takes in the pairs of which one or both are not finite."""
        stands_for = (reference == -np.inf) & (got <= LOWEST) & np.isfinite(got)
        same = (reference == got) | (np.isnan(reference) & np.isnan(got)) | stands_for
        self.finite = self.finite and bool(same.all())
        self.lowest_for_infinity += int(np.count_nonzero(stands_for))
        self.reference_nans += int(np.count_nonzero(np.isnan(reference)))

    def _add_spread(self, reference: NDArray[np.float64]) -> NDArray[np.float64]:
        # Welford, Technometrics 4 (1962): sums of squares around a running mean.
        if self._mean is None:
            self._mean = np.zeros_like(reference)
        before = reference - self._mean
        self._mean = self._mean + before / self.samples
        spread: NDArray[np.float64] = before * (reference - self._mean)
        self._spread += float(np.sum(spread))
        return spread

    def _count_argmax(self, reference: NDArray[Any], got: NDArray[Any]) -> None:
        if reference.ndim and reference.shape[-1] > 1:
            chosen = np.argmax(got, axis=-1)
            same = (np.argmax(reference, axis=-1) == chosen) | _ties(reference, chosen)
            self._rows += same.size
            self._same_argmax += int(np.count_nonzero(same))

    @property
    def snr_db(self) -> float | None:
        """10·log10(Σ(ref - mean over samples)² / Σ(ref - got)²) in dB.

        At most `MOST_DB`, which stands for equal; None when the output does not vary.
        """
        if not self.is_floating or self.samples < 2 or self._spread <= FLAT * self._energy:
            return None
        if self._noise == 0:
            return MOST_DB
        return min(10 * math.log10(self._spread / self._noise), MOST_DB)

    @property
    def equal_share(self) -> float:
        """Share of elements that are exactly equal, 0 to 1; 1 when there are none."""
        return self._equal / self._elements if self._elements else 1.0

    @property
    def argmax_agreement(self) -> float | None:
        """Share of rows along the last axis with the same largest element.

        Where several of the reference are largest but for rounding, each of them will do.
        None where the last axis has fewer than two elements.
        """
        return self._same_argmax / self._rows if self._rows else None

    def reaches(self, least_db: float) -> bool:
        """Whether a ratio is reached; where there is none, whether the error is in proportion."""
        if self.snr_db is not None:
            return self.snr_db >= least_db
        return self.max_abs_error <= share_of_peak(least_db) * self.max_abs_reference

    @property
    def are_scores(self) -> bool:
        """Whether it looks like one row of scores for each sample, axes of size 1 aside."""
        return sum(size > 1 for size in self.shape) == 1 and self.shape[-1] > 1


def share_of_peak(ratio_db: float) -> float:
    """The share of the largest value that stands for a ratio where an output does not vary."""
    return float(10 ** (-ratio_db / 20))


def _ties(reference: NDArray[Any], chosen: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether the chosen element of each row is as large as its largest but for rounding."""
    rows = reference.astype(np.float64)
    value = np.take_along_axis(rows, chosen[..., None], axis=-1)[..., 0]
    largest = rows.max(axis=-1)
    room = np.where(np.isfinite(largest), _TIE * np.abs(largest), 0)
    tied: NDArray[np.bool_] = value >= largest - room
    return tied


def compare(reference: NDArray[Any], got: NDArray[Any]) -> OutputComparison:
    """The comparison of whole arrays of shape [samples, …].

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != got.shape:
        raise ValueError(f"shapes {reference.shape} and {got.shape} differ")
    comparison = comparison_with(reference)
    for expected, found in zip(reference, got, strict=True):
        comparison.add(np.asarray(expected), np.asarray(found))
    return comparison


def comparison_with(reference: NDArray[Any]) -> OutputComparison:
    """An empty comparison with a reference of shape [samples, …]."""
    if not is_floating(reference):
        return OutputComparison(is_floating=False)
    return OutputComparison(is_floating=True, mask_from=mask_level(reference))


def is_floating(array: NDArray[Any]) -> bool:
    """Whether the elements are floats of any width, bfloat16 included."""
    return np.issubdtype(array.dtype, np.floating) or "float" in array.dtype.name


def centred_snr_db(reference: NDArray[Any], got: NDArray[Any]) -> float | None:
    """See `OutputComparison.snr_db`; arrays of shape [samples, …]."""
    return compare(reference, got).snr_db


def max_abs_error(reference: NDArray[Any], got: NDArray[Any]) -> float:
    """Largest distance of two floats in the same place; arrays of shape [samples, …]."""
    return compare(reference, got).max_abs_error


def argmax_agreement(reference: NDArray[Any], got: NDArray[Any]) -> float | None:
    """See `OutputComparison.argmax_agreement`; arrays of shape [samples, …]."""
    return compare(reference, got).argmax_agreement


def equal_share(reference: NDArray[Any], got: NDArray[Any]) -> float:
    """Share of elements that are exactly equal; arrays of shape [samples, …]."""
    return compare(reference, got).equal_share


def accuracy(outputs: NDArray[Any], labels: NDArray[Any]) -> float:
    """Share of labels that the largest element along the last axis hits.

    Args:
        outputs: Scores of shape [samples, …, classes]; axes of size 1 that the labels
            don't have are left out.
        labels: Numbers of classes from 0, of shape [samples, …]; or one-hot, with an axis
            of classes at the end. Floats count where all of them are whole.

    Raises:
        ValueError: the outputs are not scores for these labels.
    """
    if outputs.ndim < 2 or outputs.shape[-1] < 2:
        raise ValueError(f"outputs of shape {outputs.shape} hold no classes along the last axis")
    classes = outputs.shape[-1]
    found = np.argmax(outputs, axis=-1)
    if _is_one_hot(labels, classes, found.size):
        labels = np.argmax(labels, axis=-1)
    if found.size != labels.size:
        raise ValueError(
            f"{found.shape} predictions don't fit labels of {labels.shape}; give the number of"
            " the class for each, or one-hot labels"
        )
    broken = labels[labels != np.floor(labels)]
    if broken.size:
        raise ValueError(
            f"labels are numbers of classes, and {broken.flat[0]:g} is no whole number; give the"
            " number of the class for each, or one-hot labels"
        )
    least, most = labels.min(), labels.max()
    if least < 0 or most >= classes:
        raise ValueError(
            f"labels reach from {least} to {most}, but there are {classes} classes, 0 to"
            f" {classes - 1}"
        )
    return float(np.mean(found.reshape(-1) == labels.reshape(-1)))


def _is_one_hot(labels: NDArray[Any], classes: int, rows: int) -> bool:
    """Whether each of the rows has a single 1 and zeros."""
    if labels.shape[-1:] != (classes,) or labels.size != rows * classes:
        return False
    zeros_and_ones = bool(np.all((labels == 0) | (labels == 1)))
    return zeros_and_ones and bool(np.all(np.sum(labels, axis=-1, dtype=np.int64) == 1))
