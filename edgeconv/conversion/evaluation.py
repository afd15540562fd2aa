"""The samples a source and its artifacts are compared on, the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeconv.conversion.samples import Samples, fit_samples, read_arrays, read_npz, synthesize
from edgeconv.recipe.signature import TensorSpec

LEAST_SAMPLES = 16
DEVICE_SAMPLES = 16
OUTPUTS_FILE = "outputs.npz"
SAMPLES_FILE = "samples.npz"
DEVICE_SAMPLES_FILE = "device_samples.npz"


def dataset_samples(folder: Path, inputs: Sequence[TensorSpec], split: str) -> Samples:
    """The part of a dataset that is compared.

    Raises:
        EdgeconvError: DATASET_INVALID, DATASET_MISMATCH.
    """
    return fit_samples(read_arrays(folder), inputs).split(split)


def synthetic_samples(inputs: Sequence[TensorSpec], *, count: int, seed: int) -> Samples:
    """At least 16 seeded samples, where there is no data."""
    return synthesize(inputs, count=max(count, LEAST_SAMPLES), seed=seed)


def stored_samples(folder: Path, inputs: Sequence[TensorSpec]) -> Samples:
    """The synthetic samples that a reference wrote beside its outputs."""
    arrays = read_npz(folder / SAMPLES_FILE)
    return Samples({spec.name: arrays[spec.name] for spec in inputs}, None, "synthetic")
