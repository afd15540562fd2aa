"""Samples: an array per input, samples along an extra first axis, and labels."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.quantities import format_bytes
from edgeconv.bench.inputs import TOKENS, synthetic_array
from edgeconv.conversion.split import calibration_places, classes_of
from edgeconv.recipe.dataset_fit import unusable
from edgeconv.recipe.inspection import DatasetInspection
from edgeconv.recipe.signature import DeclaredTensor, DType, TensorSpec

LABEL = "label"
LARGEST_DATASET_BYTES = 8 << 30
"""Of all arrays, unpacked: a small file of zeros can ask for more than any machine has."""


@dataclass(frozen=True)
class Samples:
    """Inputs for a model.

    Attributes:
        inputs: Input name → array of shape [samples, *input shape] in the input's dtype.
        labels: Integers of shape [samples, …], or None.
        origin: "dataset" or "synthetic".
        absent: Classes of the whole dataset of which this part of it has no sample.
    """

    inputs: dict[str, NDArray[Any]]
    labels: NDArray[Any] | None
    origin: str
    absent: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values()))) if self.inputs else 0

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for index in range(len(self)):
            yield {name: array[index] for name, array in self.inputs.items()}

    def take(self, indices: Sequence[int]) -> Samples:
        """The samples at those places."""
        where = np.asarray(indices, dtype=np.int64)
        labels = None if self.labels is None else self.labels[where]
        inputs = {name: array[where] for name, array in self.inputs.items()}
        return Samples(inputs, labels, self.origin)

    def split(self, part: str) -> Samples:
        """A part in the order of the whole, with the classes that it lacks.

        "calibration" is about a quarter, drawn by class; "held-out" is all others; "all"
        is the whole. See `split.calibration_places`.
        """
        if part == "all" or len(self) < 2:
            return self
        places = calibration_places(len(self), self.labels)
        if part != "calibration":
            places = np.delete(np.arange(len(self)), places)
        taken = self.take(places.tolist())
        whole, kept = classes_of(self.labels), classes_of(taken.labels)
        if whole is None or kept is None:
            return taken
        return replace(taken, absent=tuple(np.setdiff1d(whole, kept).tolist()))


def read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """The arrays of the one npz file in a folder; never unpickles.

    Raises:
        EdgeconvError: DATASET_INVALID with the array that can't be read.
    """
    files = sorted(folder.glob("*.npz"))
    if len(files) != 1:
        raise EdgeconvError(
            Reason.DATASET_INVALID, f"A dataset is one .npz file, not {len(files)}."
        )
    arrays = read_npz(files[0])
    if not arrays:
        raise EdgeconvError(Reason.DATASET_INVALID, f"{files[0].name!r} holds no arrays.")
    return arrays


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file; never unpickles.

    Raises:
        EdgeconvError: DATASET_INVALID with the array that can't be read.
    """
    arrays = {}
    name = path.name
    try:
        _check_unpacked(path)
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise unusable(name, "it is a single array, not an .npz archive")
        with archive:
            for name in archive.files:
                arrays[name] = archive[name]
    except EdgeconvError:
        raise
    except (ValueError, OSError, KeyError, EOFError, SyntaxError) as error:
        raise unusable(name, f"it can't be read: {error}") from error
    except Exception as error:
        # zipfile and zlib raise types of their own for damaged members.
        raise unusable(name, f"it is damaged: {error}") from error
    return arrays


def _check_unpacked(path: Path) -> None:
    """No more is unpacked of a member than its entry says, so the entries tell it all."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > LARGEST_DATASET_BYTES:
        most = format_bytes(LARGEST_DATASET_BYTES)
        raise unusable(path.name, f"it takes {format_bytes(unpacked)} unpacked, more than {most}")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an npz: any name, no compression, equal bytes for equal arrays."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def inspect_arrays(arrays: Mapping[str, NDArray[Any]]) -> DatasetInspection:
    """What a dataset holds; `samples` is the length of its shortest array.

    Lengths may differ here: the arrays that a model takes must be of one, see `fit_samples`.

    Raises:
        EdgeconvError: DATASET_INVALID for a dtype that no model takes, NaN or infinity,
            an array without a sample axis, or labels without inputs.
    """
    known = {dtype.value for dtype in DType}
    described = []
    for name, array in arrays.items():
        if array.ndim < 1:
            raise unusable(name, "it has no sample axis")
        if array.dtype.name not in known:
            raise unusable(name, f"its dtype {array.dtype} is none that a model takes")
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            where = np.argwhere(~np.isfinite(array))[0].tolist()
            raise unusable(name, f"it holds NaN or infinity, first at {where}")
        dtype = DType(array.dtype.name)
        described.append(DeclaredTensor(name=name, dtype=dtype, shape=array.shape))
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    if LABEL in lengths and len(lengths) == 1:
        raise unusable(LABEL, "there are labels but no inputs")
    return DatasetInspection(arrays=tuple(described), samples=min(lengths.values()))


def fit_samples(arrays: Mapping[str, NDArray[Any]], inputs: Sequence[TensorSpec]) -> Samples:
    """The arrays as samples of a model.

    An array has shape [samples, *input shape]; where the input's first axis has size 1
    it may stand for the sample axis itself.

    Raises:
        EdgeconvError: DATASET_MISMATCH naming the array that is missing or does not fit.
    """
    fitted: dict[str, NDArray[Any]] = {}
    for spec in inputs:
        if spec.name not in arrays:
            have = ", ".join(sorted(set(arrays) - {LABEL}))
            raise _mismatch(spec.name, f"the dataset has no array for it; it has {have}")
        fitted[spec.name] = _fit(spec, arrays[spec.name])
    counts = {name: len(array) for name, array in fitted.items()}
    if len(set(counts.values())) != 1:
        raise _mismatch(min(counts, key=lambda n: counts[n]), f"sample counts differ: {counts}")
    count = next(iter(counts.values()))
    if not count:
        raise _mismatch(next(iter(counts)), "there are no samples")
    labels = arrays.get(LABEL)
    if labels is not None and len(labels) != count:
        raise _mismatch(LABEL, f"there are {len(labels)} labels for {count} samples")
    return Samples(fitted, labels, "dataset")


def synthesize(
    inputs: Sequence[TensorSpec], *, count: int, seed: int, tokens: int = TOKENS
) -> Samples:
    """Seeded samples; see `bench.inputs.synthetic_array`."""
    rng = np.random.default_rng(seed)
    made = {
        spec.name: synthetic_array(spec, (count, *spec.shape), rng, tokens=tokens)
        for spec in inputs
    }
    return Samples(made, None, "synthetic")


def _fit(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.name != spec.dtype.value:
        raise _mismatch(spec.name, f"the array is {array.dtype.name}, not {spec.dtype}")
    if array.shape[1:] == spec.shape:
        return array
    if spec.shape[:1] == (1,) and array.shape[1:] == spec.shape[1:]:
        return array[:, np.newaxis]
    want = ", ".join(["samples", *map(str, spec.shape)])
    raise _mismatch(spec.name, f"the array has shape {list(array.shape)}, not [{want}]")


def _mismatch(name: str, message: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.DATASET_MISMATCH,
        f"The dataset does not fit input {name!r}: {message}.",
        violations=[FieldViolation(name, message)],
        input=name,
    )
