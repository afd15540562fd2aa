"""A bundle: a set of named files that belong together.

Models, datasets and what steps make are all bundles. A name is one path segment.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeconv.base.digests import digest_bundle, digest_file
from edgeconv.base.errors import EdgeconvError, Reason

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@ -]{0,126}\Z")


@dataclass(frozen=True)
class BundleFile:
    """A file of a bundle: its name, digest and size."""

    name: str
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class Bundle:
    """Files sorted by name."""

    files: tuple[BundleFile, ...]

    @property
    def digest(self) -> str:
        """Digest over names and digests."""
        return digest_bundle({file.name: file.digest for file in self.files})

    @property
    def size_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(file.size_bytes for file in self.files)

    def __iter__(self) -> Iterator[BundleFile]:
        return iter(self.files)


def check_file_name(name: str) -> str:
    """Gives `name` back if it may name a file of a bundle.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    if not _NAME.match(name):
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"{name!r} can't name a file.",
            fix="Use one path segment of letters, digits and _.+=@- that starts with a letter,"
            " digit or _.",
            name=name,
        )
    return name


def scan_bundle(folder: Path) -> Bundle:
    """The regular files of a folder as a bundle; links and subfolders are refused.

    Raises:
        EdgeconvError: FIELD_INVALID for anything that is not a regular file.
    """
    files = []
    for path in sorted(folder.iterdir()):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise EdgeconvError(
                Reason.FIELD_INVALID, f"{path.name!r} is not a regular file.", name=path.name
            )
        files.append(BundleFile(check_file_name(path.name), digest_file(path), status.st_size))
    return Bundle(tuple(files))
