"""A folder that holds some files and nothing else, as children read them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from edgeconv.base.bundle import check_file_name


def stage(files: Iterable[Path], folder: Path) -> None:
    """Copies files into a new folder.

    Never by hard links: what a child reads would be the user's own file, and onnx refuses
    weights in a file that has more than one name.

    Raises:
        EdgeconvError: FIELD_INVALID for a name that a bundle can't hold.
    """
    folder.mkdir()
    for file in files:
        shutil.copyfile(file, folder / check_file_name(file.name))
