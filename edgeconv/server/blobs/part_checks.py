"""Bytes of a part, held against the length and digest that it should have."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.server.records import PartRecord


class PartCheck:
    """Follows the bytes of a stored part, and says what is wrong with them: "" for nothing."""

    def __init__(self, part: PartRecord) -> None:
        self._part = part
        self._digest = hashlib.sha256()

    def problem_of_size(self, found: int) -> str:
        """Holds its length, before anything is read, against what it should be."""
        if found == self._part.size_bytes:
            return ""
        return f"it has {found} bytes, not {self._part.size_bytes}"

    def update(self, data: Any) -> None:
        """Takes the next bytes."""
        self._digest.update(data)

    def problem_of_digest(self) -> str:
        """Holds the digest of all bytes against what it should be."""
        same = f"sha256:{self._digest.hexdigest()}" == self._part.digest
        return "" if same else "its bytes have another digest"


def damaged(part: PartRecord, how: str) -> EdgeconvError:
    """BLOB_DAMAGED of a stored part."""
    return EdgeconvError(
        Reason.BLOB_DAMAGED,
        f"Blob {part.digest} can't be used: {how}.",
        fix="Upload the file again if you sent it, or convert again if a step made it: that"
        " stores it anew.",
        digest=part.digest,
        problem=how,
    )


async def counted(part: PartRecord, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Passes on as many bytes as were announced.

    Raises:
        EdgeconvError: FIELD_INVALID when there are more or fewer.
    """
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > part.size_bytes:
            break
        yield chunk
    if size != part.size_bytes:
        more = "more than " if size > part.size_bytes else f"{size} bytes, not "
        message = f"Part {part.digest} has {more}the {part.size_bytes} bytes announced."
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            message,
            violations=[FieldViolation("header.size_bytes", message)],
            digest=part.digest,
        )


def check_digest(part: PartRecord, digest: hashlib._Hash) -> None:
    """Holds what came against the digest it was announced with.

    Raises:
        EdgeconvError: DIGEST_MISMATCH.
    """
    found = f"sha256:{digest.hexdigest()}"
    if found != part.digest:
        message = f"The bytes sent have digest {found}, not {part.digest}."
        raise EdgeconvError(
            Reason.DIGEST_MISMATCH,
            message,
            fix="Read the file again and send what it holds now.",
            violations=[FieldViolation("header.digest", message)],
            digest=part.digest,
        )
