"""Whose a folder of blobs is: one folder belongs to one database, and each knows the other.

The folder's file `identity` names both, in two words: a name of the folder, and the database's
identity. The database keeps the folder's name. What one database stores, retention would remove
for another one, and without its folder a database would tell every file as missing; so both are
asked for before anything is stored.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from edgeconv.base.disk import disk_error
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import new_id
from edgeconv.server.store.installation import Installation

IDENTITY_FILE = "identity"


@dataclass(frozen=True)
class Mark:
    """What a folder's file says."""

    folder: str
    database: str

    @classmethod
    def parsed(cls, text: str) -> Mark:
        """Anything that a person may have written there is read."""
        folder, _, database = text.strip().partition(" ")
        return cls(folder, database.strip())

    def __str__(self) -> str:
        return f"{self.folder} {self.database}"


async def claim_folder(folder: Path, installation: Installation) -> Mark:
    """Makes a folder the database's own, if neither has another one.

    Of servers that begin at once one makes the mark, and all of them look at that one.

    Raises:
        EdgeconvError: BLOBS_ELSEWHERE, STATE_UNWRITABLE, DISK_FULL.
    """
    database = await installation.identity()
    known = await installation.known_blobs()
    expected = Mark(known, database)
    try:
        found = await asyncio.to_thread(read_mark, folder)
        if found is None and not known:
            # Nothing is made for a database that has a folder: this may be the empty place where
            # that one is to be mounted.
            found = await asyncio.to_thread(_marked, folder, Mark(new_id(), database))
    except OSError as error:
        raise _unusable(folder, error) from error
    if found is not None and found.database != database:
        raise _of_another(folder, found, expected)
    if found is not None and not known:
        expected = Mark(await installation.keep_blobs(found.folder), database)
    if found != expected:
        raise _not_the_one(folder, found, expected)
    return expected


def read_mark(folder: Path) -> Mark | None:
    """What is written there; None when nothing is; blocks.

    Raises:
        OSError: When that can't be told.
    """
    try:
        return Mark.parsed((folder / IDENTITY_FILE).read_text(errors="replace"))
    except FileNotFoundError:
        return None


def check_still_there(folder: Path, mark: Mark) -> None:
    """Makes sure that the folder is not what lies below a mount that was lost; blocks.

    Raises:
        EdgeconvError: DISK_FAILED.
    """
    try:
        found = read_mark(folder)
        problem = "" if found == mark else "its file `identity` is another one"
        if found is None:
            problem = "its file `identity` is not there"
    except OSError as error:
        problem = f"its file `identity` can't be read: {error.strerror or error}"
    if problem:
        raise EdgeconvError(
            Reason.DISK_FAILED,
            f"The folder of blobs {str(folder)!r} is not the one that the server began with:"
            f" {problem}.",
            fix="Mount it again; the server goes on then. If the file alone was lost, write"
            f" '{mark}' into {str(folder / IDENTITY_FILE)!r}.",
            place=folder,
        )


def _marked(folder: Path, mark: Mark) -> Mark | None:
    """Marks a folder, unless somebody else was faster; what stands there then."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{IDENTITY_FILE}.{secrets.token_hex(8)}"
    try:
        beside.write_text(f"{mark}\n")
        # A link to a whole file, so that no one reads half of it or writes over it.
        os.link(beside, folder / IDENTITY_FILE)
    except FileExistsError:
        pass
    finally:
        beside.unlink(missing_ok=True)
    return read_mark(folder)


def _unusable(folder: Path, error: OSError) -> EdgeconvError:
    known = disk_error(error, folder, doing="marking the folder of blobs")
    if known is not None and known.reason is Reason.DISK_FULL:
        return known
    return EdgeconvError(
        Reason.STATE_UNWRITABLE,
        f"The folder of blobs {str(folder)!r} can't be used: {error.strerror or error}.",
        fix="Name another one with --blobs or EDGECONV_BLOBS, or give the right to write there.",
        blobs=folder,
    )


def _of_another(folder: Path, found: Mark, expected: Mark) -> EdgeconvError:
    own = (
        f"the folder {expected.folder!r}, in which this database's files lie"
        if expected.folder
        else "a folder that is this database's alone"
    )
    return EdgeconvError(
        Reason.BLOBS_ELSEWHERE,
        f"The folder of blobs {str(folder)!r} belongs to the database {found.database!r}, and this"
        f" one is {expected.database!r}: what one of them stores the other would remove.",
        fix=f"Name with --blobs {own}. If the other database is gone for good, remove the file"
        f" {str(folder / IDENTITY_FILE)!r}: then the folder can be taken.",
        blobs=folder,
        found=found,
        expected=expected,
    )


def _not_the_one(folder: Path, found: Mark | None, expected: Mark) -> EdgeconvError:
    there = f"this one is {found.folder!r}" if found else "this one has no mark"
    return EdgeconvError(
        Reason.BLOBS_ELSEWHERE,
        f"{str(folder)!r} does not hold the files of this database, {expected.database!r}: those"
        f" lie in the folder of blobs {expected.folder!r}, and {there}.",
        fix="Name with --blobs the folder that the database's servers used before, mounted here."
        f" If it is lost for good, write '{expected}' into the file"
        f" {str(folder / IDENTITY_FILE)!r}: what is missing is then told where it is needed.",
        blobs=folder,
        found=found or "",
        expected=expected,
    )
