"""What is in a blob's place and is not that blob: put aside first, so that it is known what goes.

Where that is broken off, retention removes what lies aside like a write that was broken off.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgeconv.base.ids import new_id
from edgeconv.base.removal import remove_folder


def put_aside(place: Path) -> Path | None:
    """Renames what is in a blob's place, so that nobody finds it; None when nothing is there."""
    try:
        return place.rename(place.with_name(f"{place.name}#{new_id()}"))
    except FileNotFoundError:
        return None


def remove_damaged(place: Path, digest: str) -> None:
    """Removes what is in a blob's place, unless a whole one has come there meanwhile."""
    if (aside := put_aside(place)) is None:
        return
    if _is_file_of(aside, digest):
        aside.rename(place)
    else:
        remove_folder(aside)


def _is_file_of(path: Path, digest: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}" == digest
