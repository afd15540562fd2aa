"""Uploads and downloads against a server that breaks off, restarts, lies and forgets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import pytest

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.aio import AsyncClient
from edgeconv.client.parts import MESSAGE_BYTES, PART_BYTES
from edgeconv.client.patience import Patience
from edgeconv.client.sync import Client
from edgeconv.v1 import files_pb2, files_pb2_grpc

TOKEN = "a-token"
IMPATIENT = Patience(first_s=0.01, longest_s=0.05, limit_s=0.5)


class MemoryFiles(files_pb2_grpc.FileServiceServicer):
    """Keeps parts and files in memory; breaks calls off when told to."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.breaks = 0
        self.allowance = 1_000_000
        self.sent_messages: list[int] = []
        self.tokens: set[str] = set()
        self.offsets: list[int] = []

    async def FindMissingParts(
        self, request: files_pb2.FindMissingPartsRequest, context: grpc.aio.ServicerContext
    ) -> files_pb2.FindMissingPartsResponse:
        self.tokens.add(dict(context.invocation_metadata() or ())["authorization"])
        missing = [part.digest for part in request.parts if part.digest not in self.parts]
        return files_pb2.FindMissingPartsResponse(missing_digests=missing)

    async def UploadPart(
        self,
        request_iterator: AsyncIterator[files_pb2.UploadPartRequest],
        context: grpc.aio.ServicerContext,
    ) -> files_pb2.UploadPartResponse:
        header, data = files_pb2.Part(), b""
        async for message in request_iterator:
            if message.HasField("header"):
                header = message.header
            else:
                self.sent_messages.append(len(message.data))
                data += message.data
            await self._break_off(context)
        if digest_bytes(data) != header.digest:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the digest is wrong")
        self.parts[header.digest] = data
        return files_pb2.UploadPartResponse(digest=header.digest)

    async def DownloadFile(
        self, request: files_pb2.DownloadFileRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[files_pb2.DownloadFileResponse]:
        self.offsets.append(request.offset_bytes)
        data = self.files[request.file]
        for offset in range(request.offset_bytes, len(data), 1000):
            self.allowance -= 1
            if self.allowance < 0:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "broken off for good")
            yield files_pb2.DownloadFileResponse(data=data[offset : offset + 1000])
            await self._break_off(context)

    async def _break_off(self, context: grpc.aio.ServicerContext) -> None:
        if self.breaks:
            self.breaks -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken off")


async def served(
    files: MemoryFiles, use: Callable[[AsyncClient], Awaitable[None]], address: str = "127.0.0.1:0"
) -> None:
    server = grpc.aio.server()
    files_pb2_grpc.add_FileServiceServicer_to_server(files, server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        async with await AsyncClient.connect(
            f"127.0.0.1:{port}", TOKEN, patience=IMPATIENT
        ) as client:
            await use(client)
    finally:
        await server.stop(None)


def file_of(data: bytes, name: str = "net.onnx") -> files_pb2.File:
    return files_pb2.File(name=name, digest=digest_bytes(data), size_bytes=len(data))


@pytest.mark.parametrize("size", [0, 1, MESSAGE_BYTES, PART_BYTES, PART_BYTES + 1])
def test_upload_sends_every_byte_in_parts_and_small_messages(tmp_path: Path, size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    files, told = MemoryFiles(), []

    async def use(client: AsyncClient) -> None:
        (sent,) = await client.upload([path], lambda done, total: told.append((done, total)))
        assert sent.digest == digest_bytes(data)
        assert (sent.name, sent.size_bytes) == ("net.onnx", size)
        assert b"".join(files.parts[part.digest] for part in sent.parts) == data
        assert all(part.size_bytes == PART_BYTES for part in sent.parts[:-1])
        assert sum(part.size_bytes for part in sent.parts) == size

    asyncio.run(served(files, use))
    assert all(length <= MESSAGE_BYTES for length in files.sent_messages)
    assert not told or told[-1] == (size, size)
    assert files.tokens <= {f"Bearer {TOKEN}"}


def test_a_second_upload_sends_only_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"a" * PART_BYTES + b"b" * 1000)
    files = MemoryFiles()

    async def use(client: AsyncClient) -> None:
        first = await client.upload([path])
        del files.parts[digest_bytes(b"b" * 1000)]
        files.sent_messages.clear()
        assert await client.upload([path]) == first
        assert files.sent_messages == [1000]

    asyncio.run(served(files, use))


def test_upload_goes_on_when_the_server_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"a" * (3 * MESSAGE_BYTES))
    files = MemoryFiles()
    files.breaks = 2

    async def use(client: AsyncClient) -> None:
        (sent,) = await client.upload([path])
        assert set(files.parts) == {sent.digest}

    asyncio.run(served(files, use))


def test_upload_ends_with_the_address_when_patience_ends(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"a")
    files = MemoryFiles()
    files.breaks = 10_000

    async def use(client: AsyncClient) -> None:
        with pytest.raises(EdgeconvError) as caught:
            await client.upload([path])
        assert caught.value.reason is Reason.SERVER_UNREACHABLE
        assert client.address in caught.value.message

    asyncio.run(served(files, use))


def test_upload_refuses_what_is_no_file_before_it_sends_anything(tmp_path: Path) -> None:
    good = tmp_path / "net.onnx"
    good.write_bytes(b"a")
    files = MemoryFiles()

    async def use(client: AsyncClient) -> None:
        with pytest.raises(EdgeconvError, match=r"net\.onnx\.data") as caught:
            await client.upload([good, tmp_path / "net.onnx.data"])
        assert caught.value.reason is Reason.FIELD_INVALID
        assert not files.parts

    asyncio.run(served(files, use))


@pytest.mark.parametrize("breaks", [0, 3])
@pytest.mark.parametrize("size", [0, 1, 10_000])
def test_download_brings_every_byte(tmp_path: Path, size: int, breaks: int) -> None:
    data = bytes(index % 251 for index in range(size))
    files = MemoryFiles()
    files.files["net.onnx"] = data
    files.breaks = breaks
    target = tmp_path / "here.onnx"

    async def use(client: AsyncClient) -> None:
        assert await client.download("models/m/versions/1", file_of(data), target) == target

    asyncio.run(served(files, use))
    assert target.read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["here.onnx"]


def test_patience_begins_anew_whenever_bytes_came(tmp_path: Path) -> None:
    data = bytes(index % 251 for index in range(60_000))
    files = MemoryFiles()
    files.files["net.onnx"] = data
    # More breaks than patience has pauses: it would end after a dozen in a row.
    files.breaks = 50
    target = tmp_path / "here.onnx"

    async def use(client: AsyncClient) -> None:
        await client.download("models/m/versions/1", file_of(data), target)

    asyncio.run(served(files, use))
    assert target.read_bytes() == data
    assert len(files.offsets) == 51


def test_download_goes_on_with_what_a_broken_one_left(tmp_path: Path) -> None:
    data = bytes(10_000)
    files = MemoryFiles()
    files.files["net.onnx"] = data
    target = tmp_path / "here.onnx"

    async def use(client: AsyncClient) -> None:
        files.allowance = 4
        with pytest.raises(EdgeconvError):
            await client.download("models/m/versions/1", file_of(data), target)
        assert not target.exists()
        files.allowance = 6
        files.offsets.clear()
        await client.download("models/m/versions/1", file_of(data), target)
        assert files.offsets == [4000]

    asyncio.run(served(files, use))
    assert target.read_bytes() == data


def test_download_begins_again_when_the_leftover_is_wrong(tmp_path: Path) -> None:
    data = b"right" * 1000
    files = MemoryFiles()
    files.files["net.onnx"] = data
    target = tmp_path / "here.onnx"
    file = file_of(data)
    (tmp_path / f".here.onnx.{file.digest[-12:]}.part").write_bytes(b"wrong")

    async def use(client: AsyncClient) -> None:
        await client.download("models/m/versions/1", file, target)

    asyncio.run(served(files, use))
    assert target.read_bytes() == data


@pytest.mark.parametrize("sent", [b"wrong", b"too long", b"sho"])
def test_download_leaves_nothing_when_the_bytes_are_wrong(tmp_path: Path, sent: bytes) -> None:
    files = MemoryFiles()
    files.files["net.onnx"] = sent

    async def use(client: AsyncClient) -> None:
        with pytest.raises(EdgeconvError) as caught:
            await client.download("r", file_of(b"right"), tmp_path / "here.onnx")
        assert caught.value.reason in (Reason.DIGEST_MISMATCH, Reason.BLOB_DAMAGED)

    asyncio.run(served(files, use))
    assert not (tmp_path / "here.onnx").exists()


def test_the_blocking_client_does_the_same(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"a" * 2_000_000)
    files = MemoryFiles()

    async def use(client: AsyncClient) -> None:
        def blocking() -> list[files_pb2.File]:
            with Client.connect(client.address, TOKEN) as other:
                return other.upload([path])

        (sent,) = await asyncio.to_thread(blocking)
        assert set(files.parts) == {sent.digest}

    asyncio.run(served(files, use))


def test_nobody_at_the_address_is_named() -> None:
    with pytest.raises(EdgeconvError, match=r"127\.0\.0\.1:1 ") as caught:
        Client.connect("127.0.0.1:1", timeout_s=0.3)
    assert caught.value.reason is Reason.SERVER_UNREACHABLE
    assert caught.value.exit_code == 6


def test_a_closed_client_says_so(tmp_path: Path) -> None:
    files = MemoryFiles()

    async def use(client: AsyncClient) -> None:
        def blocking() -> None:
            other = Client.connect(client.address, TOKEN)
            other.close()
            other.close()
            with pytest.raises(RuntimeError, match="closed"):
                other.list_devices()

        await asyncio.to_thread(blocking)

    asyncio.run(served(files, use))
