"""Blobs: bytes by the digest of them, in a local folder or an object store.

A blob appears whole or not at all and is never written again. Its digest is checked when
it is written and whenever it is read.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore

from edgeconv.base.digests import digest_bytes, is_digest
from edgeconv.base.disk import disk_error, disk_full
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.blobs.aside import put_aside, remove_damaged
from edgeconv.server.blobs.ownership import Mark, check_still_there
from edgeconv.server.blobs.part_checks import PartCheck, check_digest, counted, damaged
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.records import FileRecord, PartRecord

MAX_PART_BYTES = 32 * 1024 * 1024
MIN_PART_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
_DIGESTS_AT_ONCE = 2

RESERVE_BYTES = 64 * 1024 * 1024
"""Room for rows, logs and the words about a full disk."""

Touch = Callable[[PartRecord], None]

_TOP = "sha256/"


class Blobs:
    """All blobs of a server.

    Args:
        store: One of obstore's.
        touch: Told of each part before it is stored, or found to be stored already: from
            then on retention leaves it alone for a while. It blocks.
        folder: Where they lie, when that is on this machine.
        reserve_bytes: What stays free on that disk: blobs are refused sooner than rows, so
            that what a full disk did can still be written down.
        mark: What is written in the folder. Before a blob is stored, or told as missing, it is
            looked for: where a mount was lost, what lies below it knows nothing.
    """

    def __init__(
        self,
        store: Any,
        touch: Touch = lambda part: None,
        *,
        folder: Path | None = None,
        reserve_bytes: int = 0,
        mark: Mark | None = None,
    ) -> None:
        self._store = store
        self._touch = touch
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._mark = mark
        # The digests of a few large files would take all threads, and others need them, too.
        self._digesting = asyncio.Semaphore(_DIGESTS_AT_ONCE)

    @classmethod
    def local(
        cls,
        folder: Path,
        touch: Touch = lambda part: None,
        *,
        reserve_bytes: int = RESERVE_BYTES,
        mark: Mark | None = None,
    ) -> Blobs:
        """Blobs in a folder, which is made if needed.

        Raises:
            EdgeconvError: DISK_FULL, DISK_FAILED.
        """
        with _disk_errors(folder, "making the folder of blobs"):
            folder.mkdir(parents=True, exist_ok=True)
        store = LocalStore(folder, automatic_cleanup=False)
        return cls(store, touch, folder=folder, reserve_bytes=reserve_bytes, mark=mark)

    def touched_by(self, touch: Touch) -> Blobs:
        """The same blobs, where another one is told of what is stored."""
        return Blobs(
            self._store, touch,
            folder=self._folder, reserve_bytes=self._reserve_bytes, mark=self._mark,
        )  # fmt: skip

    def _check_place(self) -> None:
        """Looks for the folder's mark; blocks.

        Raises:
            EdgeconvError: DISK_FAILED.
        """
        if self._folder is not None and self._mark is not None:
            check_still_there(self._folder, self._mark)

    def check_room(self, needed_bytes: int) -> None:
        """Refuses what will not fit, before it is sent; blocks.

        Raises:
            EdgeconvError: DISK_FULL; DISK_FAILED where the folder was lost.
        """
        self._check_place()
        free = self.free_bytes()
        if free is not None and free < needed_bytes + self._reserve_bytes:
            raise disk_full(
                self._folder, doing="storing a blob", needed_bytes=needed_bytes,
                free_bytes=free, reserve_bytes=self._reserve_bytes,
            )  # fmt: skip

    async def put(self, part: PartRecord, chunks: AsyncIterator[bytes]) -> None:
        """Stores a blob from a stream; bytes that don't fit leave nothing behind.

        Raises:
            EdgeconvError: DIGEST_MISMATCH, FIELD_INVALID for another length.
        """
        # One piece of memory: a crowd of tiny chunks would take many times their bytes.
        held, size = bytearray(part.size_bytes), 0
        async for chunk in counted(part, chunks):
            held[size : size + len(chunk)] = chunk
            size += len(chunk)
        await asyncio.to_thread(self._keep, part, memoryview(held))

    def _keep(self, part: PartRecord, held: memoryview) -> None:
        check_digest(part, hashlib.sha256(held))
        self._touch(part)
        if not self.holds(part.digest):
            cut = (bytes(held[at : at + CHUNK_BYTES]) for at in range(0, len(held), CHUNK_BYTES))
            self._create(part, cut)

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

        async for chunk in counted(whole, chunks):
            held += chunk
            if len(held) >= MAX_PART_BYTES:
                await asyncio.to_thread(keep)
        if held:
            await asyncio.to_thread(keep)
        check_digest(whole, found)
        return FileRecord(name=name, digest=digest, size_bytes=size_bytes, parts=tuple(parts))

    def _put_bytes(self, data: bytes) -> PartRecord:
        part = PartRecord(digest=digest_bytes(data), size_bytes=len(data))
        self._touch(part)
        if not self.holds(part.digest):
            self._create(part, data)
        reached(CrashPoint.BLOB_WRITTEN)
        return part

    def _create(self, part: PartRecord, data: bytes | Iterator[bytes]) -> None:
        self.check_room(part.size_bytes)
        with (
            _disk_errors(self._folder, "storing a blob", part.size_bytes),
            suppress(AlreadyExistsError),
        ):
            self._clear_obstacle(part)
            obstore.put(self._store, _path(part.digest), data, mode="create")

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
        """Whether there is a blob of that digest; blocks.

        Raises:
            EdgeconvError: DISK_FAILED where the folder was lost.
        """
        try:
            obstore.head(self._store, _path(digest))
        except FileNotFoundError:
            self._check_place()
            return False
        return True

    def sizes(self) -> dict[str, int]:
        """Every blob that is stored, digest → bytes; blocks.

        Raises:
            EdgeconvError: DISK_FAILED where the folder was lost.
        """
        self._check_place()
        found: dict[str, int] = {}
        for page in obstore.list(self._store, _TOP):
            for entry in page:
                digest = f"sha256:{entry['path'].rpartition('/')[2]}"
                if is_digest(digest) and entry["path"] == _path(digest):
                    found[digest] = entry["size"]
        return found

    def problem(self, part: PartRecord) -> str:
        """Reads a blob whole and says what is wrong with it, "" for nothing; blocks.

        A damaged one is removed, so that it can be stored again.
        """
        try:
            for _ in self._read_blocking_part(part):
                pass
        except EdgeconvError as error:
            if error.reason is not Reason.BLOB_DAMAGED:
                raise
            return error.metadata["problem"]
        return ""

    def free_bytes(self) -> int | None:
        """Free space on the disk of the blobs; None where that is not known; blocks."""
        return None if self._folder is None else shutil.disk_usage(self._folder).free

    def remove(self, digest: str) -> None:
        """Removes a blob, which may be gone already; blocks.

        Raises:
            EdgeconvError: DISK_FAILED where the folder was lost.
        """
        try:
            obstore.delete(self._store, _path(digest))
        except FileNotFoundError:
            self._check_place()

    def unfinished(self, *, before: float) -> list[Path]:
        """Files of writes that were broken off, last changed before a time; blocks.

        Args:
            before: In seconds since the Unix epoch.
        """
        if self._folder is None:
            return []
        beside = self._folder.glob(f"{_TOP}*/*#*")
        return [path for path in beside if changed_before(path, before)]

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
            EdgeconvError: BLOB_DAMAGED, DISK_FULL, DISK_FAILED; nothing is left at `path` then.
        """
        try:
            with (
                _disk_errors(path.parent, f"copying {file.name!r}", file.size_bytes),
                path.open("xb") as stream,
            ):
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

        async with self._digesting:
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

    def _refuse(self, part: PartRecord, problem: str) -> NoReturn:
        """Says that a stored part is damaged, and drops it; blocks."""
        self._drop(part)
        raise damaged(part, problem)

    def _drop(self, part: PartRecord) -> None:
        """Makes room for a whole one, unless one has come meanwhile: a blob that exists is
        never written again."""
        place = None if self._folder is None else self._folder / _path(part.digest)
        # What is no file may take for ever to be read.
        if (place is None or place.is_file()) and self._is_whole(part):
            return
        if place is None:
            self.remove(part.digest)
        else:
            remove_damaged(place, part.digest)

    def _is_whole(self, part: PartRecord) -> bool:
        found = hashlib.sha256()
        try:
            for chunk in obstore.get(self._store, _path(part.digest)).stream():
                found.update(chunk)
        except (OSError, BaseError):
            return False
        return f"sha256:{found.hexdigest()}" == part.digest

    def _clear_obstacle(self, part: PartRecord) -> None:
        """Puts aside what is in a blob's place and is none: a folder, a link to nothing."""
        if self._folder is None:
            return
        place = self._folder / _path(part.digest)
        if os.path.lexists(place) and not place.is_file():
            put_aside(place)

    async def _read_part(self, part: PartRecord) -> AsyncIterator[bytes]:
        check = PartCheck(part)
        try:
            found = await obstore.get_async(self._store, _path(part.digest))
        except FileNotFoundError:
            await asyncio.to_thread(self._check_place)
            raise damaged(part, "it is missing") from None
        if problem := check.problem_of_size(found.meta["size"]):
            await asyncio.to_thread(self._refuse, part, problem)
        held = b""
        async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            data = bytes(chunk)
            check.update(data)
            if held:
                yield held
            held = data
        if problem := check.problem_of_digest():
            await asyncio.to_thread(self._refuse, part, problem)
        yield held

    def _read_blocking(self, file: FileRecord) -> Iterator[bytes]:
        for part in file.parts:
            yield from self._read_blocking_part(part)

    def _read_blocking_part(self, part: PartRecord) -> Iterator[bytes]:
        check = PartCheck(part)
        try:
            found = obstore.get(self._store, _path(part.digest))
        except FileNotFoundError:
            self._check_place()
            raise damaged(part, "it is missing") from None
        if problem := check.problem_of_size(found.meta["size"]):
            self._refuse(part, problem)
        for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            check.update(chunk)
            yield bytes(chunk)
        if problem := check.problem_of_digest():
            self._refuse(part, problem)


@contextmanager
def _disk_errors(place: Path | None, doing: str, needed_bytes: int = 0) -> Iterator[None]:
    """Tells of a disk that refuses as DISK_FULL or DISK_FAILED."""
    try:
        yield
    except (OSError, BaseError) as fault:
        known = disk_error(fault, place, doing=doing, needed_bytes=needed_bytes)
        if known is None:
            raise
        raise known from fault


def changed_before(path: Path, before: float) -> bool:
    """Whether a file or folder was last changed before a time, in seconds since the Unix epoch;
    not for what is gone by now."""
    try:
        return path.lstat().st_mtime < before
    except FileNotFoundError:
        return False


def _path(digest: str) -> str:
    assert is_digest(digest), digest
    hexadecimal = digest.removeprefix("sha256:")
    return f"{_TOP}{hexadecimal[:2]}/{hexadecimal}"
