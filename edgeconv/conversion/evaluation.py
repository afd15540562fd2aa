"""The samples a source and its artifacts are compared on, the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.samples import Samples, fit_samples, read_arrays, read_npz
from edgeconv.recipe.signature import TensorSpec
from edgeconv.results.effect import Note

LEAST_SAMPLES = 16
_NAMED_CLASSES = 8
DEVICE_SAMPLES = 16
OUTPUTS_FILE = "outputs.npz"
SAMPLES_FILE = "samples.npz"
DEVICE_SAMPLES_FILE = "device_samples.npz"


def dataset_samples(folder: Path, inputs: Sequence[TensorSpec], split: str) -> Samples:
    """The part of a dataset that is compared.

    Raises:
        EdgeconvError: DATASET_INVALID; DATASET_MISMATCH, also for one sample that is to
            calibrate and evaluate.
    """
    whole = fit_samples(read_arrays(folder), inputs)
    if split == "held-out" and len(whole) < 2:
        raise EdgeconvError(
            Reason.DATASET_MISMATCH,
            "One dataset of one sample can't both calibrate and evaluate: what it is judged on"
            " would be what it was made with.",
            fix="Give more samples, or evaluation data of its own.",
        )
    return whole.split(split)


def absent_notes(samples: Samples, verb: str) -> list[Note]:
    """What is to be said of a part of a dataset that lacks classes of the whole.

    Args:
        verb: What a sample of the part does, for the sentence.
    """
    absent = samples.absent
    if not absent:
        return []
    named = ", ".join(map(str, absent[:_NAMED_CLASSES]))
    more = f" and {len(absent) - _NAMED_CLASSES} more" if len(absent) > _NAMED_CLASSES else ""
    which = f"class {named}" if len(absent) == 1 else f"classes {named}{more}"
    message = f"No sample of {which} {verb}: the dataset has too few of it to serve both purposes."
    return [Note(kind="info", subject="data", message=message)]


def count_notes(samples: Samples) -> list[Note]:
    """What is to be said of data that are few."""
    count = len(samples)
    if count >= LEAST_SAMPLES:
        return []
    words = "one sample" if count == 1 else f"{count} samples"
    more = " With one, nothing varies: there are no ratios." if count == 1 else ""
    message = f"Compared on only {words}; at least {LEAST_SAMPLES} tell more.{more}"
    return [Note(kind="flagged" if count == 1 else "info", message=message)]


def stored_samples(folder: Path, inputs: Sequence[TensorSpec]) -> Samples:
    """The synthetic samples that a reference wrote beside its outputs."""
    arrays = read_npz(folder / SAMPLES_FILE)
    return Samples({spec.name: arrays[spec.name] for spec in inputs}, None, "synthetic")
