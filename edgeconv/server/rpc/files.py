"""FileService: the bytes of files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import parse_name
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.records import FileRecord, Files
from edgeconv.server.rpc.bundles import MAX_PARTS, check_part
from edgeconv.server.rpc.fields import PRINCIPAL, refuse
from edgeconv.server.rpc.incoming import fast_enough, read_data, read_header
from edgeconv.server.rpc.models import version_number
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.v1 import files_pb2, files_pb2_grpc


class FileService(files_pb2_grpc.FileServiceServicer):
    """As the wire says."""

    def __init__(self, tools: ServiceTools) -> None:
        self._tools = tools

    async def FindMissingParts(
        self, request: files_pb2.FindMissingPartsRequest, context: Any
    ) -> files_pb2.FindMissingPartsResponse:
        """Parts that the caller has not sent yet, or that were found damaged since."""
        if len(request.parts) > MAX_PARTS:
            raise refuse("parts", f"there are {len(request.parts)}; {MAX_PARTS} are allowed")
        parts = [check_part(part, f"parts[{i}]") for i, part in enumerate(request.parts)]
        digests = [part.digest for part in parts]
        sent = await self._tools.store.senders.sizes(PRINCIPAL.get(), digests)
        # First, so that what is found stored stays until a model refers to it.
        await self._tools.store.retention.touch(sent)
        held = await asyncio.to_thread(lambda: {d for d in sent if self._tools.blobs.holds(d)})
        missing = dict.fromkeys(digest for digest in digests if digest not in held)
        sizes = {part.digest: part.size_bytes for part in parts}
        await asyncio.to_thread(self._tools.blobs.check_room, sum(map(sizes.__getitem__, missing)))
        # Somebody is about to bring a model: by the time it is here a child is ready.
        await self._tools.children.prepare()
        return files_pb2.FindMissingPartsResponse(missing_digests=missing)

    async def UploadPart(
        self, request_iterator: AsyncIterator[files_pb2.UploadPartRequest], context: Any
    ) -> files_pb2.UploadPartResponse:
        """Stores a part."""
        messages = aiter(request_iterator)
        part = check_part(await read_header(messages), "header")
        await asyncio.to_thread(self._tools.blobs.check_room, part.size_bytes)
        prompt = fast_enough(messages, self._tools.gates.limits)
        async with self._tools.gates.room_for(part.size_bytes):
            await self._tools.blobs.put(part, read_data(prompt))
        reached(CrashPoint.PART_STORED)
        await self._tools.store.senders.add(PRINCIPAL.get(), part.digest, part.size_bytes)
        reached(CrashPoint.PART_KNOWN)
        return files_pb2.UploadPartResponse(digest=part.digest)

    async def DownloadFile(
        self, request: files_pb2.DownloadFileRequest, context: Any
    ) -> AsyncIterator[files_pb2.DownloadFileResponse]:
        """Reads a file of a resource."""
        file = _named(await self._files(request.resource), request)
        if not 0 <= request.offset_bytes <= file.size_bytes:
            raise refuse("offset_bytes", f"is not within 0 to {file.size_bytes}")
        async for chunk in self._tools.blobs.read(file, request.offset_bytes):
            yield files_pb2.DownloadFileResponse(data=chunk)

    async def _files(self, resource: str) -> Files:
        store = self._tools.store
        collection = resource.partition("/")[0]
        files: Files | None = None
        if collection == "models":
            model, version = parse_name(resource, "models/*/versions/*", field="resource")
            if version.isascii() and version.isdigit():
                found = await store.models.get(model, version_number(version))
                files = found.files if found else None
        elif collection == "datasets":
            (dataset,) = parse_name(resource, "datasets/*", field="resource")
            record = await store.datasets.get(dataset)
            files = record.files if record else None
        else:
            names = parse_name(resource, "conversions/*/variants/*", field="resource")
            view = await store.conversions.view(names[0])
            variants = view.variants if view else []
            files = next((each.files for each in variants if each.name == names[1]), None)
            if files:
                await store.conversions.use_files(names[0])
        if files is None:
            raise EdgeconvError(Reason.NOT_FOUND, f"There is no {resource!r}.", name=resource)
        return files


def _named(files: Files, request: files_pb2.DownloadFileRequest) -> FileRecord:
    for file in files:
        if file.name == request.file:
            return file
    have = ", ".join(file.name for file in files) or "no files"
    raise EdgeconvError(
        Reason.NOT_FOUND,
        f"{request.resource!r} has no file {request.file!r}; it has {have}.",
        name=request.resource,
        file=request.file,
    )
