"""What an npz file declares, looked at before it is uploaded: the base install has no numpy.

The header of an array is a literal of Python behind a short preamble; the format is
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

from __future__ import annotations

import ast
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause
from edgeconv.recipe.dataset_fit import check_fit, unusable
from edgeconv.recipe.inspection import DatasetInspection
from edgeconv.recipe.signature import DeclaredTensor, DType, resolve_shapes

if TYPE_CHECKING:
    from edgeconv.v1 import models_pb2

_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 20
_KINDS = {"f": "float", "i": "int", "u": "uint"}
_DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError)


@contextmanager
def data_file_named(path: Path) -> Iterator[None]:
    """Names the file in what is said against its data inside the block."""
    try:
        yield
    except EdgeconvError as error:
        of_data = error.reason in (Reason.DATASET_INVALID, Reason.DATASET_MISMATCH)
        if of_data and path.name not in error.message:
            error.message = f"{path.name}: {error.message}"
            error.metadata["file"] = path.name
        raise


def read_declared(path: Path) -> DatasetInspection:
    """The arrays of an npz file as their headers declare them; no value is read.

    Raises:
        EdgeconvError: DATASET_INVALID for what is no npz file, is cut short, or holds
            something that no model takes, naming the file and the array.
    """
    with data_file_named(path):
        return _read_declared(path)


def _read_declared(path: Path) -> DatasetInspection:
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = tuple(_declared(archive, member) for member in archive.infolist())
    except _DAMAGED as error:
        single = isinstance(error, zipfile.BadZipFile) and _begins_as_array(path)
        words = "it is a single array, no .npz archive" if single else clause(str(error))
        raise unusable(path.name, words, what="Dataset") from error
    if not arrays:
        raise unusable(path.name, "it holds no arrays", what="Dataset")
    return DatasetInspection(arrays=arrays, samples=min(int(array.shape[0]) for array in arrays))


def check_declared(
    declared: Mapping[Path, DatasetInspection],
    version: models_pb2.ModelVersion,
    shapes: Mapping[str, str] | None = None,
) -> None:
    """Refuses data that does not fit a model, as the server would after the upload.

    Args:
        declared: What each file declares.
        version: The model; without an inspection nothing is known, and nothing refused.
        shapes: Input name → "1,3,224,224", for inputs with open axes; where it is None,
            open axes fit any size.

    Raises:
        EdgeconvError: DATASET_MISMATCH naming the file; SHAPE_INVALID or DIMENSION_UNKNOWN
            for the shapes.
    """
    from edgeconv.cli.reading import model_version_document

    inspection = model_version_document(version).inspection
    if inspection is None:
        return
    resolved = None
    if shapes is not None:
        given = {name: [int(size) for size in text.split(",")] for name, text in shapes.items()}
        resolved = resolve_shapes(inspection.inputs, given, inspection.ranges)
    for path, each in declared.items():
        with data_file_named(path):
            check_fit(each, inspection.inputs, resolved)


def _declared(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> DeclaredTensor:
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as stream:
        header, length = _header(name, stream)
    dtype, item_bytes = _dtype(name, header.get("descr"))
    shape = header.get("shape")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise unusable(name, f"its header has no shape: {str(shape)[:80]}")
    if not shape:
        raise unusable(name, "it has no sample axis")
    wanted = length + item_bytes * math.prod(shape)
    if member.file_size < wanted:
        raise unusable(name, f"it has {member.file_size} bytes and needs {wanted}")
    return DeclaredTensor(name=name, dtype=dtype, shape=shape)


def _header(name: str, stream: IO[bytes]) -> tuple[dict[str, object], int]:
    """The header and the bytes before the values."""
    begin = stream.read(8)
    if begin[:6] != _MAGIC or len(begin) < 8:
        raise unusable(name, "it is no array of numpy's")
    width = 2 if begin[6] == 1 else 4
    length = int.from_bytes(stream.read(width), "little")
    text = stream.read(length) if length <= _LONGEST_HEADER else b""
    try:
        header = ast.literal_eval(text.decode("utf-8" if begin[6] > 2 else "latin-1").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        header = None
    if len(text) < length or not isinstance(header, dict):
        raise unusable(name, "its header can't be read")
    return header, 8 + width + length


def _dtype(name: str, code: object) -> tuple[DType, int]:
    """The element type and its bytes, out of a code such as "<f4"."""
    kind, digits = (code[1:2], code[2:]) if isinstance(code, str) else ("", "")
    if kind == "b" and digits == "1":
        return DType.BOOL, 1
    word = f"{_KINDS.get(kind, '?')}{8 * int(digits) if digits.isdecimal() else ''}"
    if word not in {dtype.value for dtype in DType}:
        raise unusable(name, f"its dtype {str(code)[:80]!r} is none that a model takes")
    return DType(word), int(digits)


def _begins_as_array(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC
