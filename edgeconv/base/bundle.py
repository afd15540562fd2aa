"""A bundle: a set of named files that belong together.

Models, datasets and what steps make are all bundles. A name is one path segment.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeconv.base.digests import digest_bundle, digest_file
from edgeconv.base.errors import EdgeconvError, Reason

_LONGEST_NAME_BYTES = 180
"""In UTF-8; a name of a file system has at most 255, and a download adds to it."""


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

    Letters of all scripts, brackets and the like are taken as they are, for files of a model
    refer to each other by their bytes. What could leave a folder, hide a file, look like an
    option or steer a terminal is refused.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    if why := _unfit(name):
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"{name!r} can't name a file: {why}.",
            fix="Rename the file.",
            name=name,
        )
    return name


def _unfit(name: str) -> str:
    """What keeps `name` from naming a file; "" when nothing does."""
    if not name:
        return "it is empty"
    if name[0] in ".- ":
        return f"it starts with {name[0]!r}"
    if "/" in name or "\\" in name:
        return "it has a slash"
    if not name.isprintable():
        # Lone surrogates too, by which Python tells of bytes that are no UTF-8.
        return "it has a character that can't be printed"
    if len(name.encode()) > _LONGEST_NAME_BYTES:
        return f"it has more than {_LONGEST_NAME_BYTES} bytes"
    return ""


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
