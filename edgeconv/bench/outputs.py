"""What this device computes for given samples. Only children import this module."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from edgeconv.bench.inputs import SampleFile
    from edgeconv.runtimes.session import Session

MOST_BYTES = 256 * 1024 * 1024
_TELL_EVERY_S = 1.0


def write_outputs(
    session: Session, samples: SampleFile, path: Path, tell: Callable[[int], None]
) -> int:
    """Runs each sample once and writes an npz: output name → [samples, *output shape].

    Args:
        tell: Called each second with the number of samples done.

    Returns:
        How many samples stand in the file: all, or the first ones that 256 MiB hold.

    Raises:
        EdgeconvError: RUNTIME_REFUSED.
    """
    collected: dict[str, list[NDArray[Any]]] = {spec.name: [] for spec in session.outputs}
    held, done, told = 0, 0, time.monotonic()
    for feeds in samples:
        made = session.run(feeds)
        held += sum(array.nbytes for array in made.values())
        if done and held > MOST_BYTES:
            break
        for name, array in made.items():
            collected[name].append(array)
        done += 1
        if time.monotonic() - told >= _TELL_EVERY_S:
            told = time.monotonic()
            tell(done)
    with path.open("wb") as stream:
        # As keyword arguments names such as "file" would clash.
        _write_npz(stream, {name: np.stack(arrays) for name, arrays in collected.items()})
    return done


def _write_npz(stream: Any, arrays: dict[str, NDArray[Any]]) -> None:
    import zipfile

    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
