"""Artifacts by digest, on the agent's disk, up to a limit."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from edgeconv.base.clock import Clock, SystemClock
from edgeconv.base.digests import digest_file, is_digest
from edgeconv.base.errors import EdgeconvError, Reason

_CHUNK_BYTES = 1 << 20
_PARTIAL = ".part"


class ArtifactCache:
    """Files by digest; the longest unused ones go when the limit is passed.

    What is read is checked: a damaged file is removed and counts as absent.
    """

    def __init__(self, folder: Path, limit_bytes: int, *, clock: Clock | None = None) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._clock = clock or SystemClock()
        folder.mkdir(parents=True, exist_ok=True)

    def copy_to(self, digest: str, destination: Path) -> bool:
        """Copies a file out; the bytes that are written are those that were checked.

        Returns:
            False, with nothing written, when the file is not here or was damaged.
        """
        source = self._path(digest)
        beside = destination.with_name(destination.name + _PARTIAL)
        hashed = hashlib.sha256()
        try:
            with source.open("rb") as reader, beside.open("wb") as writer:
                while chunk := reader.read(_CHUNK_BYTES):
                    hashed.update(chunk)
                    writer.write(chunk)
        except FileNotFoundError:
            return False
        if f"sha256:{hashed.hexdigest()}" != digest:
            beside.unlink()
            source.unlink(missing_ok=True)
            return False
        beside.replace(destination)
        self._mark_used(source)
        return True

    def partial(self, digest: str) -> Path:
        """Where a fetch writes; what an earlier one left there is gone on with."""
        path = self._path(digest)
        return path.with_name(path.name + _PARTIAL)

    def admit(self, digest: str) -> None:
        """Takes a finished partial in, and drops what the limit no longer allows.

        Raises:
            EdgeconvError: DIGEST_MISMATCH; the partial is removed.
        """
        partial = self.partial(digest)
        if digest_file(partial) != digest:
            partial.unlink()
            raise EdgeconvError(
                Reason.DIGEST_MISMATCH,
                "The bytes that the server sent don't have the digest of the assignment.",
                digest=digest,
            )
        path = self._path(digest)
        partial.replace(path)
        self._mark_used(path)
        self._evict(kept=path)

    def _evict(self, kept: Path) -> None:
        files = [(path, path.stat()) for path in self._folder.iterdir() if path != kept]
        size = kept.stat().st_size + sum(status.st_size for _, status in files)
        for path, status in sorted(files, key=lambda entry: entry[1].st_mtime_ns):
            if size <= self._limit_bytes:
                return
            path.unlink()
            size -= status.st_size

    def _mark_used(self, path: Path) -> None:
        now_ns = self._clock.now_ns()
        # Another call may have dropped it meanwhile; then there is nothing to mark.
        with suppress(FileNotFoundError):
            os.utime(path, ns=(now_ns, now_ns))

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise EdgeconvError(Reason.FIELD_INVALID, f"{digest!r} is no digest.", digest=digest)
        return self._folder / digest.removeprefix("sha256:")
