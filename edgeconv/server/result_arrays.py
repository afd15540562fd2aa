"""The arrays of an npz that came from outside, read with bounds. Never unpickles."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from typing import IO, Any

from edgeconv.base.errors import EdgeconvError, Reason

MAX_RESULT_BYTES = 256 * 1024 * 1024
_MAX_ARRAYS = 1024


def read_arrays(data: bytes, *, rows: int | None = None) -> Iterator[tuple[str, Any]]:
    """The arrays of an npz, each read when it is asked for.

    What a header claims is held against the limit before its array gets memory.

    Args:
        data: The npz.
        rows: Only so many along the first axis are read; None is all.

    Raises:
        EdgeconvError: LIMIT_EXCEEDED for more than 1,024 arrays, or arrays of more than
            256 MiB together; DEVICE_FAILED when an array can't be read.
        zipfile.BadZipFile: it is no npz.
    """
    left = MAX_RESULT_BYTES
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if len(members) > _MAX_ARRAYS:
            raise EdgeconvError(Reason.LIMIT_EXCEEDED, f"There are {len(members)} output arrays.")
        for member in members:
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:
                array = _read_array(stream, name, rows, left)
            left -= array.nbytes
            yield name, array


def count_samples(data: bytes) -> int:
    """Samples in an npz of arrays [samples, …]; the fewest of all arrays, 0 for none."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        shapes = []
        for member in archive.infolist():
            with archive.open(member) as stream:
                shapes.append(_read_header(stream, member.filename)[0])
    return min((shape[0] for shape in shapes if shape), default=0)


def _read_array(stream: IO[bytes], name: str, rows: int | None, left: int) -> Any:
    import numpy as np

    shape, is_fortran, dtype = _read_header(stream, name)
    if rows is not None and shape and not is_fortran:
        shape = (min(shape[0], rows), *shape[1:])
    size = math.prod(shape) * dtype.itemsize
    if size > left:
        raise EdgeconvError(
            Reason.LIMIT_EXCEEDED,
            f"Output {name!r} of shape {shape} is too large: all outputs together may take"
            f" {MAX_RESULT_BYTES} bytes.",
            output=name,
        )
    content = stream.read(size)
    if len(content) != size:
        raise _unreadable(name, f"it holds {len(content)} bytes of {size}")
    array = np.ndarray(shape, dtype, content, order="F" if is_fortran else "C")
    return array if rows is None or not shape else array[:rows]


def _read_header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, Any]:
    from numpy.lib import format as npy

    # Later versions differ in headers of more than 64 KiB and in structured arrays.
    if npy.read_magic(stream) != (1, 0):
        raise _unreadable(name, "its header is not of version 1.0")
    shape, is_fortran, dtype = npy.read_array_header_1_0(stream)
    if dtype.hasobject or not dtype.itemsize or any(size < 0 for size in shape):
        raise _unreadable(name, f"{dtype} of shape {shape} are no numbers")
    return shape, is_fortran, dtype


def _unreadable(name: str, why: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.DEVICE_FAILED, f"Output array {name!r} can't be read: {why}.", output=name
    )
