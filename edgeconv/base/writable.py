"""Whether files can be made in a folder: told by trying, for rights alone don't tell."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def nearest_place(path: Path) -> Path:
    """`path` itself where something is there, else the nearest of its parents that is there."""
    return next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))


def why_unwritable(place: Path) -> str:
    """What keeps new files from being made in a place that is there; "" when nothing does.

    A folder is made there and removed: root has the right to write in /proc, which has no
    room for files all the same.
    """
    if not place.is_dir():
        return f"{str(place)!r} is no folder"
    try:
        Path(tempfile.mkdtemp(prefix=".edgeconv-", dir=place)).rmdir()
    except OSError:
        return f"nothing can be written in {str(place)!r}"
    return ""
