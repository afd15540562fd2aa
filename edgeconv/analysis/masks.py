"""Masks: values far beyond all others of an output that stand for "never"."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOWEST = -3e38
"""From here down a number stands for -infinity, as converters write it in masks."""
ALWAYS_MASK = 1e30
"""From here up a number is a mask, whatever stands beside it."""
_LEAST = 1e3
_GAP = 1e3
"""A mask is at least so many times the largest of the other values."""
_WIDTH = 0.99
"""Masks are alike: the smallest is at least this share of the largest."""


def mask_level(reference: Iterable[NDArray[Any]]) -> float:
    """The absolute value from which on elements of an output are masks.

    They are beyond any number, or one group of much the same size that stands far from
    everything else over all samples. A column of large values that vary is none.

    Args:
        reference: Samples of a floating output, each of any shape; gone through twice.

    Returns:
        1e30 where there is no such group.
    """
    samples = list(reference)
    top = _largest(samples, lambda sizes: sizes < ALWAYS_MASK)
    if top < _LEAST:
        return ALWAYS_MASK
    least = _WIDTH * top
    peak = _largest(samples, lambda sizes: sizes < least)
    return least if 0 < peak * _GAP <= top else ALWAYS_MASK


def _largest(
    samples: Iterable[NDArray[Any]], counts: Callable[[NDArray[Any]], NDArray[np.bool_]]
) -> float:
    top = 0.0
    for sample in samples:
        sizes = np.abs(sample.astype(np.float64))
        top = max(top, float(sizes.max(initial=0, where=np.isfinite(sizes) & counts(sizes))))
    return top
