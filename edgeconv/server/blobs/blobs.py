"""Blobs: bytes by the digest of them, in a local folder or an object store.

A blob appears whole or not at all and is never written again. Its digest is checked when
it is written and whenever it is read.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore

from edgeconv.base.digests import digest_bytes, is_digest
from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.records import FileRecord, PartRecord

MAX_PART_BYTES = 32 * 1024 * 1024
MIN_PART_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024


class Blobs:
    """All blobs of a server."""

    def __init__(self, store: Any) -> None:
        """`store` is one of obstore's."""
        self._store = store

    @classmethod
    def local(cls, folder: Path) -> Blobs:
        """Blobs in a folder, which is made if needed."""
        return cls(LocalStore(folder, mkdir=True, automatic_cleanup=False))

    async def put(self, part: PartRecord, chunks: AsyncIterator[bytes]) -> None:
        """Stores a blob from a stream; bytes that don't fit leave nothing behind.

        Raises:
            EdgeconvError: DIGEST_MISMATCH, FIELD_INVALID for another length.
        """
        held = [chunk async for chunk in _counted(part, chunks)]
        await asyncio.to_thread(self._keep, part, held)

    def _keep(self, part: PartRecord, held: list[bytes]) -> None:
        digest = hashlib.sha256()
        for chunk in held:
            digest.update(chunk)
        _check_digest(part, digest)
        if not self.holds(part.digest):
            with suppress(AlreadyExistsError):
                obstore.put(self._store, _path(part.digest), iter(held), mode="create")

    async def put_stream(
        self, name: str, digest: str, size_bytes: int, chunks: AsyncIterator[bytes]
    ) -> FileRecord:
        """Stores a whole file from a stream, in parts of 32 MiB.

        Raises:
            EdgeconvError: DIGEST_MISMATCH, FIELD_INVALID for another length.
        """
        whole = PartRecord(digest=digest, size_bytes=size_bytes)
        found = hashlib.sha256()
        parts: list[PartRecord] = []
        held = bytearray()

        def keep() -> None:
            found.update(held)
            parts.append(self._put_bytes(bytes(held)))
            held.clear()

        async for chunk in _counted(whole, chunks):
            held += chunk
            if len(held) >= MAX_PART_BYTES:
                await asyncio.to_thread(keep)
        if held:
            await asyncio.to_thread(keep)
        _check_digest(whole, found)
        return FileRecord(name=name, digest=digest, size_bytes=size_bytes, parts=tuple(parts))

    def _put_bytes(self, data: bytes) -> PartRecord:
        digest = digest_bytes(data)
        with suppress(AlreadyExistsError):
            obstore.put(self._store, _path(digest), data, mode="create")
        reached(CrashPoint.BLOB_WRITTEN)
        return PartRecord(digest=digest, size_bytes=len(data))

    def put_file(self, stream: BinaryIO, name: str, *, max_bytes: int) -> FileRecord:
        """Stores an open file in parts; blocks.

        Raises:
            EdgeconvError: LIMIT_EXCEEDED for more than `max_bytes`.
        """
        whole = hashlib.sha256()
        parts: list[PartRecord] = []
        size = 0
        while data := stream.read(MAX_PART_BYTES):
            size += len(data)
            if size > max_bytes:
                raise EdgeconvError(
                    Reason.LIMIT_EXCEEDED, f"{name!r} is larger than {max_bytes} bytes.", file=name
                )
            whole.update(data)
            parts.append(self._put_bytes(data))
        return FileRecord(
            name=name,
            digest=f"sha256:{whole.hexdigest()}",
            size_bytes=size,
            parts=tuple(parts),
        )

    def holds(self, digest: str) -> bool:
        """Whether there is a blob of that digest; blocks."""
        try:
            obstore.head(self._store, _path(digest))
        except FileNotFoundError:
            return False
        return True

    async def read(self, file: FileRecord, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes of a file from `offset` on, 1 MiB at most at a time.

        Every part that is touched is checked whole; the last bytes of a damaged one
        are not given out.

        Raises:
            EdgeconvError: BLOB_DAMAGED.
        """
        start = 0
        for part in file.parts:
            skip = max(0, offset - start)
            start += part.size_bytes
            if skip >= part.size_bytes:
                continue
            async for chunk in self._read_part(part):
                if skip >= len(chunk):
                    skip -= len(chunk)
                    continue
                yield chunk[skip:]
                skip = 0

    def write_to(self, file: FileRecord, path: Path) -> None:
        """Writes a copy of a file, never a link; blocks.

        Raises:
            EdgeconvError: BLOB_DAMAGED; nothing is left at `path` then.
        """
        try:
            with path.open("xb") as stream:
                for chunk in self._read_blocking(file):
                    stream.write(chunk)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    async def digest_of(self, file: FileRecord) -> str:
        """Digest over a file's parts as they are stored; a cancelled caller ends the work.

        Raises:
            EdgeconvError: BLOB_DAMAGED.
        """
        if len(file.parts) == 1:
            return file.parts[0].digest
        whole, unwanted = hashlib.sha256(), threading.Event()

        def read() -> None:
            for chunk in self._read_blocking(file):
                if unwanted.is_set():
                    return
                whole.update(chunk)

        try:
            await asyncio.to_thread(read)
        finally:
            unwanted.set()
        return f"sha256:{whole.hexdigest()}"

    def read_whole(self, file: FileRecord) -> bytes:
        """All bytes of a small file; blocks.

        Raises:
            EdgeconvError: BLOB_DAMAGED.
        """
        return b"".join(self._read_blocking(file))

    def _drop(self, part: PartRecord) -> None:
        """Makes room for a whole one: a blob that exists is never written again."""
        with suppress(FileNotFoundError):
            obstore.delete(self._store, _path(part.digest))

    async def _read_part(self, part: PartRecord) -> AsyncIterator[bytes]:
        check = _Check(part, self._drop)
        try:
            found = await obstore.get_async(self._store, _path(part.digest))
        except FileNotFoundError:
            raise _damaged(part, "it is missing") from None
        held = b""
        async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            data = bytes(chunk)
            check.update(data)
            if held:
                yield held
            held = data
        check.finish()
        yield held

    def _read_blocking(self, file: FileRecord) -> Iterator[bytes]:
        for part in file.parts:
            check = _Check(part, self._drop)
            try:
                found = obstore.get(self._store, _path(part.digest))
            except FileNotFoundError:
                raise _damaged(part, "it is missing") from None
            for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                check.update(chunk)
                yield bytes(chunk)
            check.finish()


class _Check:
    """Follows the bytes of a stored part."""

    def __init__(self, part: PartRecord, drop: Callable[[PartRecord], None]) -> None:
        self._part = part
        self._drop = drop
        self._digest = hashlib.sha256()

    def update(self, data: Any) -> None:
        self._digest.update(data)

    def finish(self) -> None:
        if f"sha256:{self._digest.hexdigest()}" != self._part.digest:
            self._drop(self._part)
            raise _damaged(self._part, "its bytes have another digest")


def _path(digest: str) -> str:
    assert is_digest(digest), digest
    hexadecimal = digest.removeprefix("sha256:")
    return f"sha256/{hexadecimal[:2]}/{hexadecimal}"


def _damaged(part: PartRecord, how: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.BLOB_DAMAGED, f"Blob {part.digest} can't be used: {how}.", digest=part.digest
    )


async def _counted(part: PartRecord, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Passes on as many bytes as were announced, and raises when there are more or fewer."""
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


def _check_digest(part: PartRecord, digest: hashlib._Hash) -> None:
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
