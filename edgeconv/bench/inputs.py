"""The arrays a model runs on. Only children import this module: it needs numpy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Loaded by name here, so that it does not count into the memory of a later phase.
from numpy.random import default_rng
from numpy.typing import NDArray

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.recipe.dataset_fit import dtype_fix, names_fix, unusable
from edgeconv.recipe.signature import DeclaredTensor, DType, TensorSpec, resolve_shapes
from edgeconv.runtimes.session import DYNAMIC

Feeds = dict[str, NDArray[Any]]

_SEED = 0
TOKENS = 100
"""Synthetic integers lie below it."""
_SAMPLE_RATE_HZ = 16_000
_SYNTHETIC_SAMPLES = 8
_MOST_TIMED_SAMPLES = 16
_MOST_TIMED_BYTES = 16 * 1024 * 1024


class SampleFile:
    """An npz with one array [samples, *input shape] per input; other arrays are ignored.

    NaN and infinity are refused as a conversion refuses them: some kernels take another time
    for them, and no outputs could be compared.

    Raises:
        EdgeconvError: DATASET_INVALID when it can't be read, or holds NaN or infinity;
            DATASET_MISMATCH naming the input whose array is missing or does not fit.
    """

    def __init__(self, path: Path, specs: Sequence[TensorSpec]) -> None:
        names = [spec.name for spec in specs]
        self._arrays = {spec.name: _read(path, spec, names) for spec in specs}
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
    """Seeded inputs for a measurement; see `synthetic_array`.

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
        {spec.name: synthetic_array(spec, sizes[spec.name], rng) for spec in specs}
        for _ in range(_SYNTHETIC_SAMPLES)
    ]


def held_bytes(samples: Sequence[Feeds]) -> int:
    """Bytes of all arrays."""
    return sum(array.nbytes for feeds in samples for array in feeds.values())


def synthetic_array(
    spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator, *, tokens: int = TOKENS
) -> NDArray[Any]:
    """A random array for an input, of its dtype, that respects what its name tells.

    Floats are normal. Integers lie in 0…99, a range that embedding tables of trained
    models have (a smaller table shows as an error of the model itself); 8-bit ones, as
    in images, fill their range. A mask is all ones, a sample rate 16,000. numpy has no
    bfloat16: it comes as float32.

    Args:
        shape: That of the array; any axes may stand before those of the input.
        tokens: How many integers there are, from 0 on.
    """
    if spec.dtype.is_floating:
        name = "float32" if spec.dtype is DType.BFLOAT16 else spec.dtype.value
        return rng.standard_normal(shape).astype(name)
    words = set(re.split(r"[^a-z]+", spec.name.lower()))
    if spec.dtype is DType.BOOL:
        values = rng.integers(0, 2, shape)
    elif words & {"mask", "masks"}:
        values = np.ones(shape, dtype=np.int64)
    elif words & {"sr", "rate"} and math.prod(spec.shape) in (1, DYNAMIC):
        values = np.full(shape, _SAMPLE_RATE_HZ)
    elif spec.dtype in (DType.UINT8, DType.INT8):
        bounds = np.iinfo(spec.dtype.value)
        values = rng.integers(bounds.min, bounds.max + 1, shape)
    else:
        values = rng.integers(0, tokens, shape)
    return values.astype(spec.dtype.value)


def _read(path: Path, spec: TensorSpec, names: Sequence[str]) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if spec.name not in archive.files:
                have = ", ".join(archive.files)
                message = f"the file has no array for it; it has {have or 'none'}"
                raise _mismatch(spec.name, message, names_fix(names))
            array = _fit(spec, archive[spec.name])
    except EdgeconvError:
        raise
    except Exception as fault:
        # zipfile, zlib and numpy raise types of their own for what is no such archive.
        raise EdgeconvError(
            Reason.DATASET_INVALID,
            f"The samples can't be read at {spec.name!r}: {fault}".replace(str(path), path.name),
            array=spec.name,
        ) from fault
    _check_finite(spec.name, array)
    return array


def _check_finite(name: str, array: NDArray[Any]) -> None:
    # By the extremes: a mask of the whole array would count into the process's memory.
    floating = np.issubdtype(array.dtype, np.floating) and array.size
    if not floating or (np.isfinite(array.min()) and np.isfinite(array.max())):
        return
    where = np.argwhere(~np.isfinite(array))[0].tolist()
    raise unusable(name, f"it holds NaN or infinity, first at {where}")


def _fit(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.name != spec.dtype.value:
        message = f"the array is {array.dtype.name}, not {spec.dtype}"
        raise _mismatch(spec.name, message, dtype_fix(spec.name, spec.dtype))
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


def _mismatch(name: str, message: str, fix: str = "") -> EdgeconvError:
    return EdgeconvError(
        Reason.DATASET_MISMATCH,
        f"The samples do not fit input {name!r}: {message}.",
        fix=fix or "Give an npz with one array per input of the model, samples first.",
        violations=[FieldViolation(name, message)],
        input=name,
    )
