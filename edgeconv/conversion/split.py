"""One dataset for two purposes: which samples calibrate and which are held out."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

_EVERY = 4
_SEED = 20_177


def calibration_places(count: int, labels: NDArray[Any] | None) -> NDArray[np.int64]:
    """The places of the samples that calibrate, rising; all others are held out.

    The samples are put in order by class, within a class by a shuffle whose seed is a
    constant, and every fourth is taken: a quarter of the samples, rounded up, and a
    quarter of each class, one more or less. A class of two or three samples that was
    passed over gives one more. So each class of two samples or more is in both parts.
    Where labels are no integer classes, one per sample, all samples are one class.

    The same places come out for both purposes, on each machine: they follow from the
    count and the labels alone.

    Args:
        count: Samples, at least 2.
        labels: Of shape [count, …], or None.
    """
    classes = classes_of(labels)
    if classes is None:
        classes = np.zeros(count, np.int64)
    # Of Python's generator this method alone is promised never to change.
    draw = random.Random(_SEED).random
    shuffled = np.array([draw() for _ in range(count)])
    order = np.lexsort((shuffled, classes))
    chosen = order[::_EVERY]
    found, first, sizes = np.unique(classes[order], return_index=True, return_counts=True)
    passed_over = (sizes > 1) & ~np.isin(found, classes[chosen])
    places: NDArray[np.int64] = np.sort(np.concatenate([chosen, order[first[passed_over]]]))
    return places


def classes_of(labels: NDArray[Any] | None) -> NDArray[Any] | None:
    """Class of each sample, of shape [samples]; None where labels are no integer classes."""
    if labels is None or labels.dtype.kind not in "iu" or labels.size != len(labels):
        return None
    return labels.reshape(-1)
