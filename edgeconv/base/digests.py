"""SHA-256 digests, written "sha256:" and 64 hexadecimal digits."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PATTERN = re.compile(r"sha256:[0-9a-f]{64}\Z")
_CHUNK_BYTES = 1 << 20


def is_digest(text: str) -> bool:
    """Whether `text` is a well-formed digest."""
    return _PATTERN.match(text) is not None


def digest_bytes(data: bytes | memoryview) -> str:
    """Digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def digest_file(path: Path) -> str:
    """Digest of a file's bytes; reads 1 MiB at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal data gives equal text.

    Raises:
        ValueError: for NaN and infinities, which JSON does not have.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest_json(value: Any) -> str:
    """Digest of data by its canonical JSON."""
    return digest_bytes(canonical_json(value).encode())


def digest_bundle(files: Mapping[str, str]) -> str:
    """Digest of a set of files, given as name → digest."""
    return digest_json(dict(files))
