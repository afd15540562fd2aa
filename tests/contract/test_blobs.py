"""What any place for blobs promises; here the local folder and memory."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.blobs.blobs import MAX_PART_BYTES, Blobs
from edgeconv.server.records import FileRecord, PartRecord

MIB = 1024 * 1024


class Place:
    """Blobs with a way to look and to do damage behind their back."""

    def __init__(self, blobs: Blobs, store: Any) -> None:
        self.blobs = blobs
        self.store = store

    def paths(self) -> list[str]:
        return [entry["path"] for page in obstore.list(self.store) for entry in page]

    def damage(self, digest: str) -> None:
        path = f"sha256/{digest[7:9]}/{digest[7:]}"
        data = bytearray(obstore.get(self.store, path).bytes())
        data[len(data) // 2] ^= 1
        obstore.put(self.store, path, bytes(data))


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        store = MemoryStore()
        return Place(Blobs(store), store)
    blobs = Blobs.local(tmp_path / "blobs")
    return Place(blobs, obstore.store.LocalStore(tmp_path / "blobs"))


async def _stream(data: bytes, chunk: int = MIB) -> AsyncIterator[bytes]:
    for start in range(0, len(data), chunk):
        yield data[start : start + chunk]


def _part(data: bytes) -> PartRecord:
    return PartRecord(digest=digest_bytes(data), size_bytes=len(data))


def _file(*parts: bytes) -> FileRecord:
    whole = b"".join(parts)
    return FileRecord(
        name="f", digest=digest_bytes(whole), size_bytes=len(whole),
        parts=tuple(_part(part) for part in parts),
    )  # fmt: skip


def _put(place: Place, *parts: bytes) -> FileRecord:
    for part in parts:
        asyncio.run(place.blobs.put(_part(part), _stream(part)))
    return _file(*parts)


def _read(place: Place, file: FileRecord, offset: int = 0) -> bytes:
    async def read() -> bytes:
        return b"".join([chunk async for chunk in place.blobs.read(file, offset)])

    return asyncio.run(read())


def test_bytes_come_back_from_any_offset(place: Place) -> None:
    parts = os.urandom(3 * MIB + 17), os.urandom(2 * MIB)
    file, whole = _put(place, *parts), b"".join(parts)
    for offset in (0, 1, MIB, 3 * MIB + 16, 3 * MIB + 17, 4 * MIB, len(whole) - 1, len(whole)):
        assert _read(place, file, offset) == whole[offset:]


@pytest.mark.parametrize(
    ("announced", "sent", "reason"),
    [
        (b"right", b"wrong", Reason.DIGEST_MISMATCH),
        (b"right", b"righ", Reason.FIELD_INVALID),
        (b"right", b"rightly", Reason.FIELD_INVALID),
        (b"right", b"", Reason.FIELD_INVALID),
    ],
)
def test_bytes_that_are_not_those_announced_leave_nothing(
    place: Place, announced: bytes, sent: bytes, reason: Reason
) -> None:
    with pytest.raises(EdgeconvError) as caught:
        asyncio.run(place.blobs.put(_part(announced), _stream(sent, 2)))
    assert caught.value.reason is reason
    assert place.paths() == []


def test_a_stream_that_breaks_off_leaves_nothing(place: Place) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(MIB)
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        asyncio.run(place.blobs.put(_part(bytes(2 * MIB)), broken()))
    assert place.paths() == []


def test_who_sends_a_known_blob_must_still_have_its_bytes(place: Place) -> None:
    _put(place, b"secret")
    with pytest.raises(EdgeconvError) as caught:
        asyncio.run(place.blobs.put(_part(b"secret"), _stream(b"guess!")))
    assert caught.value.reason is Reason.DIGEST_MISMATCH
    asyncio.run(place.blobs.put(_part(b"secret"), _stream(b"secret")))
    assert _read(place, _file(b"secret")) == b"secret"


def test_the_same_blob_put_twice_at_once_is_there_once(place: Place) -> None:
    data = os.urandom(4 * MIB)

    async def both() -> None:
        await asyncio.gather(*(place.blobs.put(_part(data), _stream(data, 4096)) for _ in range(4)))

    asyncio.run(both())
    assert len(place.paths()) == 1
    assert _read(place, _file(data)) == data


def test_a_damaged_blob_is_never_given_out_whole_and_can_be_put_again(
    place: Place, tmp_path: Path
) -> None:
    data = os.urandom(2 * MIB)
    readers: list[Callable[[FileRecord], Any]] = [
        lambda file: _read(place, file),
        lambda file: place.blobs.write_to(file, tmp_path / "copy"),
        lambda file: place.blobs.read_whole(file),
    ]
    for read in readers:
        file = _put(place, data)
        place.damage(file.parts[0].digest)
        with pytest.raises(EdgeconvError) as caught:
            read(file)
        assert caught.value.reason is Reason.BLOB_DAMAGED
        assert caught.value.metadata["digest"] == file.parts[0].digest
        assert not (tmp_path / "copy").exists()
    assert _read(place, _put(place, data)) == data


def test_a_whole_blob_that_replaced_a_damaged_one_while_it_was_read_stays(
    tmp_path: Path,
) -> None:
    # Memory gives a blob in one piece.
    place = Place(Blobs.local(tmp_path), obstore.store.LocalStore(tmp_path))
    part = os.urandom(3 * MIB)
    file = _put(place, part)
    place.damage(file.digest)

    async def scenario() -> None:
        reading = aiter(place.blobs.read(file))
        await anext(reading)
        place.blobs.remove(file.digest)
        await place.blobs.put(_part(part), _stream(part))
        with pytest.raises(EdgeconvError) as caught:
            async for _ in reading:
                pass
        assert caught.value.reason is Reason.BLOB_DAMAGED

    asyncio.run(scenario())
    assert place.blobs.holds(file.digest)
    assert _read(place, file) == part


def test_a_damaged_blob_is_dropped_beside_the_event_loop(
    tmp_path: Path,
) -> None:
    place = Place(Blobs.local(tmp_path), obstore.store.LocalStore(tmp_path))
    cut, flipped = (_put(place, os.urandom(3 * MIB)) for _ in range(2))
    place.damage(flipped.digest)
    hexadecimal = cut.digest.removeprefix("sha256:")
    os.truncate(tmp_path / "sha256" / hexadecimal[:2] / hexadecimal, MIB)

    async def scenario() -> None:
        for file in (cut, flipped):
            with pytest.raises(EdgeconvError) as caught:
                async for _ in place.blobs.read(file):
                    pass
            assert caught.value.reason is Reason.BLOB_DAMAGED

    with _renaming_threads(tmp_path) as threads:
        asyncio.run(scenario())
    assert len(threads) == 2
    assert threading.get_ident() not in threads
    assert not any(map(place.blobs.holds, (cut.digest, flipped.digest)))


@contextmanager
def _renaming_threads(folder: Path) -> Iterator[list[int]]:
    """The threads that rename something in a folder."""
    threads: list[int] = []
    watching = True

    def hook(event: str, args: tuple[Any, ...]) -> None:
        # It can't be taken off again.
        if watching and event == "os.rename" and Path(args[0]).is_relative_to(folder):
            threads.append(threading.get_ident())

    sys.addaudithook(hook)
    try:
        yield threads
    finally:
        watching = False


def test_a_missing_blob_is_said_to_be_missing(place: Place) -> None:
    for read in (lambda file: _read(place, file), place.blobs.read_whole):
        with pytest.raises(EdgeconvError, match="missing") as caught:
            read(_file(b"never sent"))
        assert caught.value.reason is Reason.BLOB_DAMAGED


def test_a_file_is_stored_in_parts_with_the_digest_of_the_whole(
    place: Place, tmp_path: Path
) -> None:
    data = os.urandom(MAX_PART_BYTES + 5)
    file = place.blobs.put_file(io.BytesIO(data), "f", max_bytes=len(data))
    assert [part.size_bytes for part in file.parts] == [MAX_PART_BYTES, 5]
    assert file.digest == digest_bytes(data) == asyncio.run(place.blobs.digest_of(file))
    place.blobs.write_to(file, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    with pytest.raises(EdgeconvError) as caught:
        place.blobs.put_file(io.BytesIO(data), "f", max_bytes=len(data) - 1)
    assert caught.value.reason is Reason.LIMIT_EXCEEDED


def test_a_streamed_file_is_checked_as_a_whole(place: Place) -> None:
    data = os.urandom(3 * MIB)
    file = asyncio.run(
        place.blobs.put_stream("r", digest_bytes(data), len(data), _stream(data, MIB))
    )
    assert _read(place, file) == data
    with pytest.raises(EdgeconvError) as caught:
        asyncio.run(place.blobs.put_stream("r", digest_bytes(b"x"), len(data), _stream(data)))
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_an_empty_file_has_no_parts(place: Place, tmp_path: Path) -> None:
    file = place.blobs.put_file(io.BytesIO(b""), "f", max_bytes=10)
    assert (file.size_bytes, file.parts) == (0, ())
    place.blobs.write_to(file, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""


def test_it_is_known_which_blobs_are_there(place: Place) -> None:
    _put(place, b"here")
    assert place.blobs.holds(digest_bytes(b"here"))
    assert not place.blobs.holds(digest_bytes(b"there"))


def test_a_blob_on_disk_is_a_file_of_its_own(tmp_path: Path) -> None:
    blobs = Blobs.local(tmp_path / "blobs")
    file = blobs.put_file(io.BytesIO(b"one"), "f", max_bytes=10)
    blobs.write_to(file, tmp_path / "copy")
    (tmp_path / "copy").write_bytes(b"changed by a child")
    assert blobs.read_whole(file) == b"one"


@pytest.mark.parametrize("obstacle", ["folder", "link to nothing", "link to a file"])
def test_what_was_put_in_a_blob_s_place_does_not_keep_it_out(obstacle: str, tmp_path: Path) -> None:
    blobs = Blobs.local(tmp_path / "blobs")
    file = blobs.put_file(io.BytesIO(b"one"), "f", max_bytes=10)
    name = file.digest.removeprefix("sha256:")
    place = tmp_path / "blobs" / "sha256" / name[:2] / name
    place.unlink()
    outside = tmp_path / "outside"
    if obstacle == "folder":
        place.mkdir()
        (place / "inside").write_bytes(b"somebody's")
    elif obstacle == "link to nothing":
        place.symlink_to(outside)
    else:
        outside.write_bytes(b"other bytes")
        place.symlink_to(outside)
    with pytest.raises(EdgeconvError) as caught:
        blobs.read_whole(file)
    assert caught.value.reason is Reason.BLOB_DAMAGED
    assert "Upload the file again" in caught.value.fix
    assert blobs.put_file(io.BytesIO(b"one"), "f", max_bytes=10) == file
    assert blobs.read_whole(file) == b"one"
    assert place.is_file()
    assert not place.is_symlink()
    if outside.exists():
        assert outside.read_bytes() == b"other bytes"


def test_what_a_write_left_that_was_broken_off_is_told_by_its_age(tmp_path: Path) -> None:
    blobs = Blobs.local(tmp_path / "blobs")
    file = blobs.put_file(io.BytesIO(b"one"), "f", max_bytes=10)
    name = file.digest.removeprefix("sha256:")
    left = tmp_path / "blobs" / "sha256" / name[:2] / f"{name}#1"
    left.write_bytes(b"o")
    assert blobs.unfinished(before=left.stat().st_mtime) == []
    assert blobs.unfinished(before=left.stat().st_mtime + 1) == [left]
    assert blobs.sizes() == {file.digest: 3}


def test_whoever_stores_a_blob_touches_it_before(tmp_path: Path) -> None:
    touched: list[tuple[str, bool]] = []
    blobs = Blobs.local(
        tmp_path / "blobs", lambda part: touched.append((part.digest, blobs.holds(part.digest)))
    )
    digest = digest_bytes(b"one")
    blobs.put_file(io.BytesIO(b"one"), "f", max_bytes=10)
    asyncio.run(blobs.put(_part(b"one"), _stream(b"one")))
    asyncio.run(blobs.put_stream("f", digest, 3, _stream(b"one")))
    assert touched == [(digest, False), (digest, True), (digest, True)]


def test_a_part_in_tiny_chunks_takes_no_more_memory_than_its_bytes(place: Place) -> None:
    data = os.urandom(500_000)

    async def chunks() -> AsyncIterator[bytes]:
        for offset in range(0, len(data), 2):
            yield data[offset : offset + 2]

    tracemalloc.start()
    try:
        part = PartRecord(digest=digest_bytes(data), size_bytes=len(data))
        asyncio.run(place.blobs.put(part, chunks()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert place.blobs.holds(part.digest)
    assert peak < 4 * len(data)
