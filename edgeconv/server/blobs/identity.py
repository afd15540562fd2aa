"""The identity of a folder of blobs: servers of one database must see the same one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import new_id

IDENTITY_FILE = "identity"


def identity_of(folder: Path) -> str:
    """The folder's identity, made on first use; servers that begin at once get the same one.

    Raises:
        EdgeconvError: STATE_UNWRITABLE.
    """
    path = folder / IDENTITY_FILE
    beside = folder / f".{IDENTITY_FILE}.{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            beside.write_text(f"{new_id()}\n")
            try:
                # A link to a whole file, so that no one reads half of it or writes over it.
                os.link(beside, path)
            except FileExistsError:
                pass
            finally:
                beside.unlink()
        return path.read_text().strip()
    except OSError as error:
        raise EdgeconvError(
            Reason.STATE_UNWRITABLE,
            f"The folder of blobs {str(folder)!r} can't be used: {error.strerror or error}.",
            fix="Name another one with --blobs or EDGECONV_BLOBS, or give the right to write"
            " there.",
            blobs=folder,
        ) from error


def check_identity(folder: Path, found: str, expected: str) -> None:
    """Refuses a folder that is not the one that the database's files lie in.

    Raises:
        EdgeconvError: BLOBS_ELSEWHERE.
    """
    if found == expected:
        return
    raise EdgeconvError(
        Reason.BLOBS_ELSEWHERE,
        f"{str(folder)!r} does not hold the files of this database: those lie in the folder of"
        f" blobs {expected!r}, and this one is {found!r}.",
        fix="Name with --blobs the folder that the database's other servers use, mounted here. If"
        f" it is lost for good, write {expected} into the file"
        f" {str(folder / IDENTITY_FILE)!r}: what is missing is then told where it is needed.",
        blobs=folder,
        found=found,
        expected=expected,
    )
