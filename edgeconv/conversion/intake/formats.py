"""Which format a model's files have, by their content."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause
from edgeconv.conversion.intake.foreign_words import first_words

_SUFFIXES = (".onnx", ".pt2")
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_TFLITE = b"TFL3"
_ONNX = b"\x08"
"""The first field of a model as all exporters write it; protobuf does not ask for that."""
_HDF5 = b"\x89HDF"
_GZIP = b"\x1f\x8b"
_LFS_POINTER = b"version https://"

DAMAGED_ZIP = (
    zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError,
    struct.error, zlib.error,
)  # fmt: skip
"""What zipfile raises on archives that are not whole, names that are no text among it."""


@dataclass(frozen=True)
class SourceFile:
    """The main file of a model and its format."""

    path: Path
    format: Literal["onnx", "pt2"]


def recognise(folder: Path) -> SourceFile:
    """The one model of a folder.

    The main file is the one that ends in .onnx or .pt2, or the only file there is; what it
    holds decides its format.

    Raises:
        EdgeconvError: MODEL_UNREADABLE; MODEL_UNSAFE for bare pickles.
    """
    path = _main_file(folder)
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith(_ZIP):
        _check_zip(path)
        return SourceFile(path, "pt2")
    if head.startswith(_PICKLE):
        raise EdgeconvError(
            Reason.MODEL_UNSAFE,
            f"{path.name!r} is a pickle, which runs code when it is read.",
            fix="Save the model with torch.export.save, or export it to ONNX.",
            file=path.name,
        )
    if head[4:8] == _TFLITE:
        raise _unreadable(path, "it is a TFLite file", "Send the model it was made of.")
    if head.startswith(_HDF5):
        raise _unreadable(path, "it is an HDF5 file", "Export the model to ONNX.")
    if head.startswith(_GZIP):
        raise _unreadable(path, "it is compressed with gzip", "Unpack it first.")
    if head.startswith(_LFS_POINTER):
        raise _unreadable(path, "it is a pointer of Git LFS", "Fetch it with `git lfs pull`.")
    if path.suffix.lower() == ".pt2" and not head.startswith(_ONNX):
        raise _unreadable(
            path, "it is no zip archive, as saved programs are", "Save it with torch.export.save."
        )
    if len(head) < 8:
        raise _unreadable(path, f"it has only {len(head)} bytes", "Send the whole file.")
    return SourceFile(path, "onnx")


def _main_file(folder: Path) -> Path:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    named = [path for path in files if path.suffix.lower() in _SUFFIXES]
    if len(named) == 1:
        return named[0]
    if not named and len(files) == 1:
        return files[0]
    listed = ", ".join(path.name for path in files[:10]) or "nothing"
    raise EdgeconvError(
        Reason.MODEL_UNREADABLE,
        f"A model is one .onnx or .pt2 file, with external data beside it; here is {listed}.",
        fix="Send one model at a time.",
        files=listed,
    )


def _check_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGED_ZIP as error:
        raise _unreadable(
            path, f"its archive is damaged ({first_words(error)})", "Send the whole file."
        ) from error
    leaves = {name.partition("/")[2] for name in names}
    if "models/model.json" in leaves:
        return
    if "data.pkl" in leaves and any(leaf.startswith("code/") for leaf in leaves):
        why = "it is a TorchScript archive"
    elif "data.pkl" in leaves:
        why = "it is a pickled checkpoint"
    elif "serialized_exported_program.json" in names:
        why = "it was saved by torch before 2.8, in a form that holds pickles"
    else:
        why = "the archive holds no exported program"
    raise _unreadable(path, why, "Export the model with torch.export and torch.export.save.")


def _unreadable(path: Path, why: str, fix: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.MODEL_UNREADABLE,
        f"{path.name!r} is not a model that can be read: {clause(why)}.",
        fix=fix,
        file=path.name,
    )
