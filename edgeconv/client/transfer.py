"""Files to and from a server, in parts, resumable."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from edgeconv.base.bundle import check_file_name
from edgeconv.base.digests import digest_bytes, digest_file
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.parts import PART_BYTES, Span, cut, plan_parts
from edgeconv.client.patience import Patience, rest
from edgeconv.client.wire import IDLE_S, Wire
from edgeconv.v1 import files_pb2, files_pb2_grpc

Progress = Callable[[int, int], None]
"""Told (bytes done, bytes in all)."""

_PARTS_IN_FLIGHT = 3
_SLOW_TRIES = 3
_TOO_SLOW = "upload_rate"
"""The server's limit that an upload meets which is too slow."""


class FileTransfer:
    """Uploads and downloads over one wire."""

    def __init__(self, wire: Wire, *, patience: Patience | None = None) -> None:
        self._wire = wire
        self._patience = patience or Patience()
        self._one_by_one = False
        self._alone = asyncio.Lock()
        self._stub: files_pb2_grpc.FileServiceAsyncStub = files_pb2_grpc.FileServiceStub(
            wire.channel
        )

    async def upload(
        self, paths: Sequence[Path], progress: Progress | None = None
    ) -> list[files_pb2.File]:
        """Sends what the server does not have of these files.

        Each part is read once: the bytes that are sent are those that were digested.

        Returns:
            The files with their digests and parts, in the order of `paths`.

        Raises:
            EdgeconvError: FIELD_INVALID for a path that is no readable file or becomes
                shorter while it is read; SERVER_UNREACHABLE; what the server refuses.
        """
        total = sum(_size(path) for path in paths)
        meter = _Meter(total, progress)
        return [await self._upload_file(path, meter) for path in paths]

    async def download(
        self,
        resource: str,
        file: files_pb2.File,
        destination: Path,
        progress: Progress | None = None,
    ) -> Path:
        """Reads a file; `destination` appears whole and with the right digest, or not at all.

        What an earlier, broken download left beside `destination` is gone on with.

        Raises:
            EdgeconvError: DIGEST_MISMATCH; SERVER_UNREACHABLE; what the server refuses.
        """
        partial = destination.with_name(f".{destination.name}.{file.digest[-12:]}.part")
        meter = _Meter(file.size_bytes, progress)
        try:
            resumed = await self._fetch(resource, file, partial, meter)
        except BaseException:
            _remove_if_empty(partial)
            raise
        right = await asyncio.to_thread(digest_file, partial) == file.digest
        if not right and resumed:
            partial.unlink()
            await self._fetch(resource, file, partial, _Meter(file.size_bytes, progress))
            right = await asyncio.to_thread(digest_file, partial) == file.digest
        if not right:
            partial.unlink()
            raise EdgeconvError(
                Reason.DIGEST_MISMATCH,
                f"The bytes of {file.name!r} of {resource} don't have the digest named.",
                file=file.name,
                resource=resource,
            )
        return partial.replace(destination)

    async def _upload_file(self, path: Path, meter: _Meter) -> files_pb2.File:
        check_file_name(path.name)
        size = _size(path)
        whole = hashlib.sha256()
        result = files_pb2.File(name=path.name, size_bytes=size)
        slots = asyncio.Semaphore(_PARTS_IN_FLIGHT)
        with path.open("rb") as stream:
            try:
                async with asyncio.TaskGroup() as group:
                    for span in plan_parts(size, PART_BYTES):
                        await slots.acquire()
                        data, digest = await asyncio.to_thread(_read_part, stream, span, whole)
                        part = files_pb2.Part(digest=digest, size_bytes=span.size)
                        result.parts.append(part)
                        group.create_task(self._send_part(part, data, slots, meter))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
        result.digest = f"sha256:{whole.hexdigest()}"
        return result

    async def _send_part(
        self, part: files_pb2.Part, data: bytes, slots: asyncio.Semaphore, meter: _Meter
    ) -> None:
        try:
            await self._send_fast_enough(part, data)
            meter.add(part.size_bytes)
        finally:
            slots.release()

    async def _send_fast_enough(self, part: files_pb2.Part, data: bytes) -> None:
        """Parts that go up side by side share the line: where it is too slow for that, they
        go one after another from then on."""
        for tries_left in reversed(range(_SLOW_TRIES)):
            try:
                async with self._alone if self._one_by_one else nullcontext():
                    return await self._send_in_the_end(part, data)
            except EdgeconvError as error:
                if error.metadata.get("limit") != _TOO_SLOW or not tries_left:
                    raise
                self._one_by_one = True

    async def _send_in_the_end(self, part: files_pb2.Part, data: bytes) -> None:
        patience = self._patience
        while True:
            try:
                return await self._send_if_missing(part, data)
            except EdgeconvError as error:
                patience = await rest(error, patience)

    async def _send_if_missing(self, part: files_pb2.Part, data: bytes) -> None:
        request = files_pb2.FindMissingPartsRequest(parts=[part])
        answer = await self._wire.unary(self._stub.FindMissingParts, request)
        if part.digest in answer.missing_digests:
            await self._wire.send(self._stub.UploadPart, _part_messages(part, data))

    async def _fetch(
        self, resource: str, file: files_pb2.File, partial: Path, meter: _Meter
    ) -> bool:
        """Completes `partial`; says whether it was begun by an earlier call."""
        patience = self._patience
        kept = partial.stat().st_size if partial.exists() else 0
        if kept > file.size_bytes:
            partial.unlink()
            kept = 0
        meter.add(kept)
        with partial.open("ab") as stream:
            while (begin := stream.tell()) < file.size_bytes:
                request = files_pb2.DownloadFileRequest(
                    resource=resource, file=file.name, offset_bytes=begin
                )
                try:
                    await self._append(request, stream, file.size_bytes, meter)
                    if stream.tell() == begin:
                        raise _short(resource, file)
                except EdgeconvError as error:
                    came = stream.tell() > begin
                    patience = await rest(error, patience.renewed() if came else patience)
        return kept > 0

    async def _append(
        self, request: files_pb2.DownloadFileRequest, stream: BinaryIO, size: int, meter: _Meter
    ) -> None:
        answers = self._wire.stream(self._stub.DownloadFile, request, idle_s=IDLE_S)
        async for response in answers:
            if stream.tell() + len(response.data) > size:
                raise EdgeconvError(
                    Reason.DIGEST_MISMATCH,
                    f"{request.file!r} of {request.resource} is longer than was said.",
                    file=request.file,
                )
            stream.write(response.data)
            meter.add(len(response.data))


class _Meter:
    """Adds up bytes for a progress call."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress(self._done, self._total)


def _remove_if_empty(partial: Path) -> None:
    """A file that nothing came of is nothing to go on with."""
    if partial.exists() and not partial.stat().st_size:
        partial.unlink()


def _size(path: Path) -> int:
    if not path.is_file():
        raise EdgeconvError(Reason.FIELD_INVALID, f"There is no file {str(path)!r}.", path=path)
    return path.stat().st_size


def _short(resource: str, file: files_pb2.File) -> EdgeconvError:
    return EdgeconvError(
        Reason.BLOB_DAMAGED,
        f"{file.name!r} of {resource} is shorter than was said.",
        file=file.name,
        resource=resource,
    )


def _read_part(stream: BinaryIO, span: Span, whole: hashlib._Hash) -> tuple[bytes, str]:
    stream.seek(span.offset)
    data = stream.read(span.size)
    if len(data) != span.size:
        raise EdgeconvError(
            Reason.FIELD_INVALID,
            f"{stream.name!r} became shorter while it was read.",
            path=stream.name,
        )
    whole.update(data)
    # A file of one part has one digest: there is nothing to add up.
    alone = not span.offset and not stream.read(1)
    return data, f"sha256:{whole.hexdigest()}" if alone else digest_bytes(data)


async def _part_messages(
    part: files_pb2.Part, data: bytes
) -> AsyncIterator[files_pb2.UploadPartRequest]:
    yield files_pb2.UploadPartRequest(header=part)
    for piece in cut(memoryview(data)):
        yield files_pb2.UploadPartRequest(data=bytes(piece))
