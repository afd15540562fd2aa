"""Transfers broken off anywhere, against a real server: the bytes are the same in the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from edgeconv.base.digests import digest_bytes
from edgeconv.client.parts import MESSAGE_BYTES
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import files_pb2, files_pb2_grpc

SIZE = 2 * MESSAGE_BYTES + 12_345
DATA = random.Random(3).randbytes(SIZE)
EDGES = sorted(
    {
        place
        for edge in (0, MESSAGE_BYTES, 2 * MESSAGE_BYTES, SIZE)
        for place in (edge - 1, edge, edge + 1)
        if 0 <= place <= SIZE
    }
    | set(random.Random(4).sample(range(SIZE), 6))
)


async def stored(service: QuickService) -> tuple[str, files_pb2.File]:
    """A model version whose one file holds the data; what it is does not matter here."""
    path = service.folder / "model.json"
    path.write_bytes(DATA)
    made = await service.client.create_model_version("models/m", [path])
    (file,) = made.files
    return made.name, file


def test_a_download_goes_on_from_any_byte(tmp_path: Path) -> None:
    async def main() -> None:
        async with quick_service(tmp_path) as service:
            name, file = await stored(service)
            destination = tmp_path / "got.json"
            partial = tmp_path / f".got.json.{file.digest[-12:]}.part"
            for cut in EDGES:
                partial.write_bytes(DATA[:cut])
                seen: list[int] = []
                await service.client.download(
                    name, file, destination, lambda done, _, seen=seen: seen.append(done)
                )
                assert destination.read_bytes() == DATA, cut
                assert not partial.exists()
                assert seen[0] >= cut
                assert seen[-1] == SIZE
            for wrong in (b"x", DATA[:-1] + b"?", b"y" * SIZE, DATA + b"more"):
                partial.write_bytes(wrong)
                await service.client.download(name, file, destination)
                assert destination.read_bytes() == DATA

    asyncio.run(main())


def test_a_file_is_read_from_any_byte_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with quick_service(tmp_path) as service:
            name, file = await stored(service)
            stub: files_pb2_grpc.FileServiceAsyncStub = files_pb2_grpc.FileServiceStub(
                service.channel
            )
            for cut in EDGES:
                request = files_pb2.DownloadFileRequest(
                    resource=name, file=file.name, offset_bytes=cut
                )
                answers = stub.DownloadFile(request, metadata=service.metadata)
                assert b"".join([each.data async for each in answers]) == DATA[cut:], cut

    asyncio.run(main())


@pytest.mark.parametrize("pieces", [0, 1, 2, 3])
def test_an_upload_that_was_broken_off_anywhere_leaves_nothing_and_can_be_sent_again(
    tmp_path: Path, pieces: int
) -> None:
    part = files_pb2.Part(digest=digest_bytes(DATA), size_bytes=SIZE)

    async def main() -> None:
        async with quick_service(tmp_path) as service:
            stub: files_pb2_grpc.FileServiceAsyncStub = files_pb2_grpc.FileServiceStub(
                service.channel
            )
            sent = asyncio.Event()

            async def broken() -> AsyncIterator[files_pb2.UploadPartRequest]:
                yield files_pb2.UploadPartRequest(header=part)
                for piece in range(pieces):
                    begin = piece * MESSAGE_BYTES
                    yield files_pb2.UploadPartRequest(data=DATA[begin : begin + MESSAGE_BYTES])
                sent.set()
                await asyncio.Event().wait()

            call = stub.UploadPart(broken(), metadata=service.metadata)
            await asyncio.wait_for(sent.wait(), 20)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            asked = files_pb2.FindMissingPartsRequest(parts=[part])
            answer = await stub.FindMissingParts(asked, metadata=service.metadata)
            assert list(answer.missing_digests) == [part.digest]
            name, file = await stored(service)
            assert file.digest == part.digest
            await service.client.download(name, file, tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == DATA

    asyncio.run(main())


@pytest.mark.parametrize("change", ["shorter", "longer", "another byte"])
def test_what_is_not_what_was_said_is_not_kept(tmp_path: Path, change: str) -> None:
    sent = {"shorter": DATA[:-1], "longer": DATA + b"x", "another byte": b"x" + DATA[1:]}[change]
    part = files_pb2.Part(digest=digest_bytes(DATA), size_bytes=SIZE)

    async def main() -> None:
        async with quick_service(tmp_path) as service:
            stub: files_pb2_grpc.FileServiceAsyncStub = files_pb2_grpc.FileServiceStub(
                service.channel
            )

            async def messages() -> AsyncIterator[files_pb2.UploadPartRequest]:
                yield files_pb2.UploadPartRequest(header=part)
                for begin in range(0, len(sent), MESSAGE_BYTES):
                    yield files_pb2.UploadPartRequest(data=sent[begin : begin + MESSAGE_BYTES])

            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.UploadPart(messages(), metadata=service.metadata)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            asked = files_pb2.FindMissingPartsRequest(parts=[part])
            answer = await stub.FindMissingParts(asked, metadata=service.metadata)
            assert list(answer.missing_digests) == [part.digest]

    asyncio.run(main())
