"""The arrays a measured model runs on. Only children import this module: it needs numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Loaded by name here, so that it does not count into the memory of a later phase.
from numpy.random import default_rng
from numpy.typing import NDArray

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.recipe.signature import DeclaredTensor, TensorSpec, resolve_shapes
from edgeconv.runtimes.session import DYNAMIC

Feeds = dict[str, NDArray[Any]]

_SEED = 0
_SYNTHETIC_SAMPLES = 8
_MOST_TIMED_SAMPLES = 16
_MOST_TIMED_BYTES = 16 * 1024 * 1024


class SampleFile:
    """An npz with one array [samples, *input shape] per input; other arrays are ignored.

    Raises:
        EdgeconvError: DATASET_INVALID when it can't be read, DATASET_MISMATCH naming the
            input whose array is missing or does not fit.
    """

    def __init__(self, path: Path, specs: Sequence[TensorSpec]) -> None:
        self._arrays = {spec.name: _read(path, spec) for spec in specs}
        lengths = {name: len(array) for name, array in self._arrays.items()}
        if len(set(lengths.values())) > 1 or not all(lengths.values()):
            raise _mismatch(next(iter(lengths)), f"the sample counts are {lengths}")

    def __len__(self) -> int:
        return min((len(array) for array in self._arrays.values()), default=0)

    def __iter__(self) -> Iterator[Feeds]:
        for place in range(len(self)):
            yield {name: array[place] for name, array in self._arrays.items()}

    def first(self) -> list[Feeds]:
        """Copies of the first samples: 16, or as many as 16 MiB hold, at least one."""
        chosen: list[Feeds] = []
        held = 0
        for feeds in self:
            held += held_bytes([feeds])
            if chosen and (len(chosen) == _MOST_TIMED_SAMPLES or held > _MOST_TIMED_BYTES):
                break
            chosen.append({name: np.array(array, order="C") for name, array in feeds.items()})
        return chosen


def synthesize(
    specs: Sequence[TensorSpec], shapes: Mapping[str, tuple[int, ...]] | None = None
) -> list[Feeds]:
    """Seeded inputs that respect dtypes: normal floats, integers 0…99, random bools.

    Args:
        shapes: Whole shapes of inputs with open axes. A first axis that is left open
            becomes 1.

    Raises:
        EdgeconvError: DIMENSION_UNKNOWN or SHAPE_INVALID naming the input.
    """
    declared = [DeclaredTensor(name=s.name, dtype=s.dtype, shape=s.shape) for s in specs]
    sizes = resolve_shapes(declared, dict(shapes or {}))
    rng = default_rng(_SEED)
    return [
        {spec.name: _random(rng, spec, sizes[spec.name]) for spec in specs}
        for _ in range(_SYNTHETIC_SAMPLES)
    ]


def held_bytes(samples: Sequence[Feeds]) -> int:
    """Bytes of all arrays."""
    return sum(array.nbytes for feeds in samples for array in feeds.values())


def _random(rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    if spec.dtype.value == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    if spec.dtype.is_floating:
        # numpy has no bfloat16; a runtime that takes it refuses this with its own words.
        name = "float32" if spec.dtype.value == "bfloat16" else spec.dtype.value
        return rng.standard_normal(shape).astype(name)
    return rng.integers(0, 100, shape).astype(spec.dtype.value)


def _read(path: Path, spec: TensorSpec) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if spec.name not in archive.files:
                have = ", ".join(archive.files)
                raise _mismatch(spec.name, f"there is no array for it; there are {have}")
            return _fit(spec, archive[spec.name])
    except EdgeconvError:
        raise
    except Exception as fault:
        # zipfile, zlib and numpy raise types of their own for what is no such archive.
        raise EdgeconvError(
            Reason.DATASET_INVALID,
            f"The samples can't be read at {spec.name!r}: {fault}".replace(str(path), path.name),
            array=spec.name,
        ) from fault


def _fit(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.name != spec.dtype.value:
        raise _mismatch(spec.name, f"the array is {array.dtype.name}, not {spec.dtype}")
    if _fits(spec.shape, array.shape[1:]):
        return array
    if spec.shape[:1] in ((1,), (DYNAMIC,)) and _fits(spec.shape[1:], array.shape[1:]):
        return array[:, np.newaxis]
    want = ", ".join(["samples", *map(str, spec.shape)])
    raise _mismatch(spec.name, f"the array has shape {list(array.shape)}, not [{want}]")


def _fits(want: tuple[int, ...], have: tuple[int, ...]) -> bool:
    return len(want) == len(have) and all(
        size in (DYNAMIC, given) for size, given in zip(want, have, strict=True)
    )


def _mismatch(name: str, message: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.DATASET_MISMATCH,
        f"The samples do not fit input {name!r}: {message}.",
        violations=[FieldViolation(name, message)],
        input=name,
    )
