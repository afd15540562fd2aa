"""FileService: bytes up and down, over real gRPC."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import grpc
import pytest

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.rpc_errors import from_rpc_error
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import files_pb2, files_pb2_grpc, models_pb2, models_pb2_grpc

MIB = 1024 * 1024
Scenario = Callable[[QuickService], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            async with quick_service(tmp_path) as service:
                await scenario(service)

        asyncio.run(whole())

    return run


async def _error(call: Any) -> EdgeconvError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value, "server")


def _part(data: bytes) -> files_pb2.Part:
    return files_pb2.Part(digest=digest_bytes(data), size_bytes=len(data))


def _messages(part: files_pb2.Part | None, chunks: Iterable[bytes]) -> list[Any]:
    first = [files_pb2.UploadPartRequest(header=part)] if part else []
    return [*first, *(files_pb2.UploadPartRequest(data=chunk) for chunk in chunks)]


def _upload(service: QuickService, messages: list[Any]) -> Any:
    async def stream() -> Any:
        for message in messages:
            yield message

    stub = files_pb2_grpc.FileServiceStub(service.channel)
    return stub.UploadPart(stream(), metadata=service.metadata)


def _missing(service: QuickService, *parts: files_pb2.Part) -> Any:
    stub = files_pb2_grpc.FileServiceStub(service.channel)
    request = files_pb2.FindMissingPartsRequest(parts=parts)
    return stub.FindMissingParts(request, metadata=service.metadata)


def test_parts_that_were_sent_are_not_asked_for_again(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: QuickService) -> None:
        one, two = _part(b"one"), _part(b"two")
        assert list((await _missing(service, one, two, one)).missing_digests) == [
            one.digest, two.digest,
        ]  # fmt: skip
        assert (await _upload(service, _messages(one, [b"on", b"e"]))).digest == one.digest
        assert list((await _missing(service, one, two)).missing_digests) == [two.digest]

    play(scenario)


@pytest.mark.parametrize(
    ("messages", "reason", "field"),
    [
        (_messages(_part(b"right"), [b"wrong"]), Reason.DIGEST_MISMATCH, "header.digest"),
        (_messages(_part(b"right"), [b"rig"]), Reason.FIELD_INVALID, "header.size_bytes"),
        (_messages(_part(b"right"), [b"rightly"]), Reason.FIELD_INVALID, "header.size_bytes"),
        (_messages(None, [b"right"]), Reason.FIELD_INVALID, "header"),
        ([], Reason.FIELD_INVALID, "header"),
        (
            _messages(files_pb2.Part(digest="md5:1", size_bytes=1), [b"1"]),
            Reason.FIELD_INVALID, "header.digest",
        ),
        (
            _messages(files_pb2.Part(digest=digest_bytes(b"1")), [b"1"]),
            Reason.FIELD_INVALID, "size_bytes",
        ),
        (
            _messages(files_pb2.Part(digest=digest_bytes(b"1"), size_bytes=33 * MIB), [b"1"]),
            Reason.FIELD_INVALID, "header.size_bytes",
        ),
        (_messages(_part(bytes(MIB + 1)), [bytes(MIB + 1)]), Reason.FIELD_INVALID, "data"),
        (_messages(_part(b"a"), [b"", b"a"]), Reason.FIELD_INVALID, "data"),
        (
            _messages(_part(b"ab"), [b"a"]) + _messages(_part(b"ab"), [b"b"]),
            Reason.FIELD_INVALID, "header",
        ),
    ],
)  # fmt: skip
def test_a_bad_upload_is_refused_and_counts_for_nothing(
    play: Callable[[Scenario], None], messages: list[Any], reason: Reason, field: str
) -> None:
    async def scenario(service: QuickService) -> None:
        error = await _error(_upload(service, messages))
        assert error.reason is reason
        assert [violation.field for violation in error.violations] == [field]
        right = _part(b"right")
        assert list((await _missing(service, right)).missing_digests) == [right.digest]

    play(scenario)


def test_calls_without_the_token_are_refused(play: Callable[[Scenario], None]) -> None:
    async def scenario(service: QuickService) -> None:
        stub = files_pb2_grpc.FileServiceStub(service.channel)
        request = files_pb2.FindMissingPartsRequest(parts=[_part(b"x")])
        for metadata in (
            (),
            (("authorization", "Bearer wrong"),),
            (("authorization", service.endpoint.token),),
        ):
            call = stub.FindMissingParts(request, metadata=metadata)
            assert (await _error(call)).reason is Reason.UNAUTHENTICATED
        download = stub.DownloadFile(
            files_pb2.DownloadFileRequest(resource="datasets/d", file="f"), metadata=()
        )
        assert (await _error(download.read())).reason is Reason.UNAUTHENTICATED

    play(scenario)


def test_a_model_of_several_parts_comes_back_from_any_offset(
    play: Callable[[Scenario], None], tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        data = os.urandom(17 * MIB + 3)
        path = tmp_path / "model.json"
        path.write_bytes(data)
        version = await service.client.create_model_version("models/m", [path])
        assert [part.size_bytes for part in version.files[0].parts] == [16 * MIB, MIB + 3]
        stub = files_pb2_grpc.FileServiceStub(service.channel)
        for offset in (0, 1, 16 * MIB - 1, 16 * MIB, 17 * MIB, len(data)):
            request = files_pb2.DownloadFileRequest(
                resource=version.name, file="model.json", offset_bytes=offset
            )
            answers = stub.DownloadFile(request, metadata=service.metadata)
            got = [answer.data async for answer in answers]
            assert b"".join(got) == data[offset:]
            assert all(len(each) <= MIB for each in got)

    play(scenario)


@pytest.mark.parametrize(
    ("resource", "file", "offset", "reason"),
    [
        ("models/m/versions/1", "other", 0, Reason.NOT_FOUND),
        ("models/m/versions/1", "model.json", -1, Reason.FIELD_INVALID),
        ("models/m/versions/1", "model.json", 10**9, Reason.FIELD_INVALID),
        ("models/m/versions/9", "model.json", 0, Reason.NOT_FOUND),
        (f"models/m/versions/{10**30}", "model.json", 0, Reason.NOT_FOUND),
        ("models/m/versions/x", "model.json", 0, Reason.NOT_FOUND),
        ("datasets/none", "data.npz", 0, Reason.NOT_FOUND),
        ("conversions/none/variants/fp32.onnx", "f", 0, Reason.NOT_FOUND),
        ("/etc/passwd", "passwd", 0, Reason.FIELD_INVALID),
        ("models/../versions/1", "model.json", 0, Reason.FIELD_INVALID),
        ("", "model.json", 0, Reason.FIELD_INVALID),
    ],
)
def test_a_file_that_is_not_there_is_not_read(
    play: Callable[[Scenario], None], resource: str, file: str, offset: int, reason: Reason
) -> None:
    async def scenario(service: QuickService) -> None:
        await service.model()
        stub = files_pb2_grpc.FileServiceStub(service.channel)
        request = files_pb2.DownloadFileRequest(resource=resource, file=file, offset_bytes=offset)
        call = stub.DownloadFile(request, metadata=service.metadata)
        assert (await _error(call.read())).reason is reason

    play(scenario)


def test_a_digest_alone_gives_nothing(play: Callable[[Scenario], None]) -> None:
    """Bytes that lie on the server, but were not sent by the caller, are missing parts."""

    async def scenario(service: QuickService) -> None:
        model = await service.model()
        conversion, _ = await service.convert(
            model, "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
        )
        (made,) = conversion.variants[0].files
        assert list((await _missing(service, *made.parts)).missing_digests) == [made.digest]
        stub = models_pb2_grpc.ModelServiceStub(service.channel)
        request = models_pb2.CreateModelVersionRequest(model="models/thief", files=[made])
        error = await _error(stub.CreateModelVersion(request, metadata=service.metadata))
        assert error.reason is Reason.PART_MISSING
        assert made.digest in error.message

    play(scenario)
