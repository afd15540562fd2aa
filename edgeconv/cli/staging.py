"""A folder that holds some files and nothing else, as children read them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from edgeconv.base.bundle import check_file_name


def stage(files: Iterable[Path], folder: Path) -> None:
    """Puts files into a new folder: hard links where the file system has them, else copies.

    Raises:
        EdgeconvError: FIELD_INVALID for a name that a bundle can't hold.
    """
    folder.mkdir()
    for file in files:
        target = folder / check_file_name(file.name)
        source = file.resolve()
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
