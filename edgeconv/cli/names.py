"""What a user may write for a resource name, and names made from files."""

from __future__ import annotations

import re
from pathlib import Path
from unicodedata import combining, normalize

from edgeconv.base.ids import parse_name

_MOST = 63


def full_name(name: str, collection: str) -> str:
    """ "models/net" for "net" or "models/net".

    Raises:
        EdgeconvError: FIELD_INVALID when it can't name one resource of the collection.
    """
    full = name if name.startswith(f"{collection}/") else f"{collection}/{name}"
    parse_name(full, f"{collection}/*")
    return full


def version_name(name: str) -> str:
    """ "models/net/versions/latest" for "net"; with a version where one is written.

    "net/3", "net/versions/3" and "models/net/versions/3" are the same.

    Raises:
        EdgeconvError: FIELD_INVALID when it can't name a version.
    """
    segments = [part for part in name.removeprefix("models/").split("/") if part != "versions"]
    if len(segments) == 1:
        segments.append("latest")
    full = "models/" + "/versions/".join(segments)
    parse_name(full, "models/*/versions/*")
    return full


def slug(path: Path) -> str:
    """The stem of a file as a segment of a resource name; letters lose their accents."""
    bare = "".join(c for c in normalize("NFKD", path.stem) if not combining(c))
    words = re.sub(r"[^a-z0-9._-]+", "-", bare.lower()).strip("-._")
    return words[:_MOST].rstrip("-._") or "model"
