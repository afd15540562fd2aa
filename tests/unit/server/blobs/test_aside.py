"""What is taken out of a blob's place."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.base.digests import digest_bytes
from edgeconv.server.blobs.aside import remove_damaged

WHOLE = b"whole"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "blob"


def test_a_whole_blob_that_came_meanwhile_is_put_back(place: Path) -> None:
    place.write_bytes(WHOLE)
    remove_damaged(place, digest_bytes(WHOLE))
    assert place.read_bytes() == WHOLE
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize("what", ["damaged", "nothing", "folder", "link to nothing"])
def test_whatever_else_there_is_goes(what: str, place: Path) -> None:
    if what == "damaged":
        place.write_bytes(b"other")
    elif what == "folder":
        (place / "deep").mkdir(parents=True)
    elif what == "link to nothing":
        place.symlink_to(place.parent / "gone")
    remove_damaged(place, digest_bytes(WHOLE))
    assert list(place.parent.iterdir()) == []
