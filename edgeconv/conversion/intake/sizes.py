"""Tensors without measure: a file of a few bytes can ask for more memory than there is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.recipe.signature import TensorSpec

LARGEST_BYTES = 1 << 32
"""Of one tensor that a model takes or computes."""
LARGEST_FOLDED_BYTES = 1 << 31
"""Of one tensor that is computed from constants while a model is read."""
LONGEST_AXIS = 1 << 24
"""Elements of an axis whose length is a value of the model."""
MOST_AXES = 64
"""What numpy has."""


def is_too_large(shape: Sequence[int], item_bytes: int) -> bool:
    """Whether no step could hold a tensor of this shape."""
    return len(shape) > MOST_AXES or math.prod(shape) * item_bytes > LARGEST_BYTES


def check_inputs(inputs: Iterable[TensorSpec]) -> None:
    """Refuses inputs that no machine could fill.

    Raises:
        EdgeconvError: SHAPE_INVALID naming the input.
    """
    for each in inputs:
        item = 2 if each.dtype.value == "bfloat16" else np.dtype(each.dtype.value).itemsize
        if not is_too_large(each.shape, item):
            continue
        written = ", ".join(str(size) for size in each.shape[:12])
        message = (
            f"its shape [{written}{', …' if len(each.shape) > 12 else ''}] is larger than"
            f" {LARGEST_BYTES >> 30} GiB or has more than {MOST_AXES} axes"
        )
        raise EdgeconvError(
            Reason.SHAPE_INVALID,
            f"Input {each.name!r} can't be taken: {message}.",
            fix="Give a smaller shape.",
            violations=[FieldViolation(f"shapes.{each.name}", message)],
            input=each.name,
        )
