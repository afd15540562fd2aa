"""What callers may have under way at once, and how long: refusals that tell when to come again."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.aio import AsyncClient
from edgeconv.client.patience import Patience
from edgeconv.client.rpc_errors import from_rpc_error
from edgeconv.client.server_news import ServerNews
from edgeconv.client.wire import Wire
from edgeconv.server.rpc.call_limits import CallLimits
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import conversions_pb2, conversions_pb2_grpc, files_pb2, files_pb2_grpc

MIB = 1024 * 1024
ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
GET = "/edgeconv.v1.ConversionService/GetConversion"

Scenario = Callable[[QuickService], Coroutine[Any, Any, None]]
Play = Callable[[CallLimits, Scenario], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def run(limits: CallLimits, scenario: Scenario) -> None:
        async def whole() -> None:
            async with quick_service(tmp_path, limits=limits) as service:
                await asyncio.wait_for(scenario(service), 60)

        asyncio.run(whole())

    return run


@asynccontextmanager
async def connection(service: QuickService) -> AsyncIterator[grpc.aio.Channel]:
    """A connection that no other channel shares."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(service.endpoint.address, options=options) as channel:
        yield channel


class Upload:
    """An upload that sends its header and then nothing, until it is told to."""

    def __init__(self, service: QuickService, channel: grpc.aio.Channel, size: int = 3) -> None:
        self.data = os.urandom(size)
        self.go_on = asyncio.Event()
        stub = files_pb2_grpc.FileServiceStub(channel)
        self.call = stub.UploadPart(self._messages(), metadata=service.metadata)

    async def _messages(self) -> AsyncIterator[files_pb2.UploadPartRequest]:
        part = files_pb2.Part(digest=digest_bytes(self.data), size_bytes=len(self.data))
        yield files_pb2.UploadPartRequest(header=part)
        await self.go_on.wait()
        for offset in range(0, len(self.data), MIB):
            yield files_pb2.UploadPartRequest(data=self.data[offset : offset + MIB])

    async def end(self) -> None:
        self.go_on.set()
        assert (await self.call).digest == digest_bytes(self.data)


async def refusal(call: Any) -> EdgeconvError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value, "server")


async def _read_on(call: Any) -> None:
    while await call.read():
        pass


def test_one_upload_too_many_is_refused_with_the_limit_and_the_time_to_come_again(
    play: Play,
) -> None:
    async def scenario(service: QuickService) -> None:
        async with connection(service) as one, connection(service) as two:
            first = Upload(service, one)
            # Which of the two is in first is not known: one of them is refused.
            second = Upload(service, two)
            calls = [asyncio.ensure_future(refusal(each.call)) for each in (first, second)]
            done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            (error,) = [each.result() for each in done]
            assert error.reason is Reason.LIMIT_REACHED
            assert error.retry_s == 2.0
            assert error.metadata == {"limit": "uploads", "most": "1"}
            assert error.message == "There is room for 1 uploads at once, and 1 are under way."
            assert "2 s" in error.fix
            for each in waiting:
                each.cancel()

    play(CallLimits(uploads=1, line_s=0.1), scenario)


def test_a_connection_gets_its_share_and_others_theirs(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        async with connection(service) as one, connection(service) as two:
            uploads = [Upload(service, one) for _ in range(2)]
            calls = [asyncio.ensure_future(refusal(each.call)) for each in uploads]
            done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            error = done.pop().result()
            assert error.reason is Reason.LIMIT_REACHED
            assert error.message == "This connection has its share of 4 uploads under way: 1."
            await Upload(service, two).end()
            for each in calls:
                each.cancel()

    play(CallLimits(uploads=4, line_s=0.1), scenario)


def test_uploads_wait_in_line_and_none_is_refused_that_gets_its_turn(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        async with connection(service) as channel:
            uploads = [Upload(service, channel) for _ in range(12)]
            for each in uploads:
                each.go_on.set()
            await asyncio.gather(*(each.end() for each in uploads))

    play(CallLimits(uploads=1, line_s=30.0), scenario)


def test_uploads_hold_no_more_memory_than_is_allowed(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        async with connection(service) as one, connection(service) as two:
            uploads = [Upload(service, one, 3 * MIB), Upload(service, two, 2 * MIB)]
            calls = [asyncio.ensure_future(refusal(each.call)) for each in uploads]
            done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            error = done.pop().result()
            assert error.metadata == {"limit": "upload_bytes", "most": "4"}
            for each in calls:
                each.cancel()

    play(CallLimits(upload_bytes=4 * MIB, line_s=0.1), scenario)


def test_the_client_says_that_the_server_is_busy_and_goes_on_when_there_is_room(
    play: Play, tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        told: list[EdgeconvError | None] = []
        path = tmp_path / "some.bin"
        path.write_bytes(os.urandom(1000))
        async with connection(service) as channel:
            first = Upload(service, channel)
            await _until_refused(service)

            def tell(error: EdgeconvError | None) -> None:
                told.append(error)
                first.go_on.set()

            async with await AsyncClient.connect(
                service.endpoint.address, service.endpoint.token,
                patience=Patience(news=ServerNews(tell)),
            ) as client:  # fmt: skip
                await client.upload([path])
            await first.end()
        assert [error.reason for error in told if error] == [Reason.LIMIT_REACHED]

    play(CallLimits(uploads=1, line_s=0.1), scenario)


async def _until_refused(service: QuickService) -> None:
    """Until an upload under way keeps others out."""
    while True:
        async with connection(service) as channel:
            call = Upload(service, channel)
            call.go_on.set()
            try:
                await call.call
            except grpc.aio.AioRpcError:
                return


def test_the_client_gives_up_in_the_end_and_says_for_how_long_it_tried(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model(gates={"reference": str(service.folder / "never")})
        await service.client.create_conversion(model, recipe=ONE)
        async with await AsyncClient.connect(
            service.endpoint.address, service.endpoint.token, patience=Patience(busy_limit_s=1.0)
        ) as client:
            with pytest.raises(EdgeconvError) as caught:
                await client.create_conversion(model, recipe=ONE)
        assert caught.value.reason is Reason.LIMIT_REACHED
        assert caught.value.exit_code == 6

    play(CallLimits(conversions=1), scenario)


def test_so_many_conversions_may_be_open_and_the_same_call_is_answered_again(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model(gates={"reference": str(service.folder / "never")})
        stub = conversions_pb2_grpc.ConversionServiceStub(service.channel)

        def create(request_id: str) -> Any:
            request = conversions_pb2.CreateConversionRequest(
                model_version=model, recipe=ONE, request_id=request_id
            )
            return stub.CreateConversion(request, metadata=service.metadata)

        made = [(await create(each)).conversion.name for each in ("one", "two")]
        error = await refusal(create("three"))
        assert error.reason is Reason.LIMIT_REACHED
        assert error.metadata == {"limit": "conversions", "most": "2"}
        assert error.message == "There is room for 2 conversions, and 2 have not ended."
        assert error.retry_s
        assert (await create("one")).conversion.name == made[0]
        await service.client.cancel_conversion(made[0])
        await create("three")

    play(CallLimits(conversions=2), scenario)


def test_so_many_benchmarks_may_be_open(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        await service.agent().synchronize()
        model = await service.model()
        conversion, _ = await service.convert(model, ONE)
        variant = f"{conversion.name}/variants/fp32.onnx"
        async with await AsyncClient.connect(
            service.endpoint.address, service.endpoint.token, patience=Patience(busy_limit_s=0.0)
        ) as client:
            first = await client.create_benchmark(variant, "devices/a", request_id="one")
            # What a conversion brings goes in, and takes room.
            other = await client.create_conversion(model, recipe=ONE, device_selector="devices/a")
            async with aclosing(client.watch_conversion(other.name)) as events:
                async for event in events:
                    if event.HasField("benchmark_changed"):
                        break
            with pytest.raises(EdgeconvError) as caught:
                await client.create_benchmark(variant, "devices/a")
            assert caught.value.reason is Reason.LIMIT_REACHED
            assert caught.value.message == "There is room for 1 benchmarks, and 2 have not ended."
            assert caught.value.retry_s
            again = await client.create_benchmark(variant, "devices/a", request_id="one")
            assert again.name == first.name
            for each in await client.list_benchmarks():
                await client.cancel_benchmark(each.name)
            await client.create_benchmark(variant, "devices/a")

    play(CallLimits(benchmarks=1), scenario)


def test_so_many_inspections_may_be_open(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        gate = service.folder / "gate"
        first = await service.send_model(gates={"inspect": str(gate)})
        async with await AsyncClient.connect(
            service.endpoint.address, service.endpoint.token, patience=Patience(busy_limit_s=1.0)
        ) as client:
            path = service.folder / "model.json"
            with pytest.raises(EdgeconvError, match="room for 1 inspections of models"):
                await client.create_model_version("models/m", [path])
            gate.touch()
            await client.wait_model_version(first)
            await client.create_model_version("models/m", [path])

    play(CallLimits(inspections=1), scenario)


def test_an_upload_that_sends_nothing_for_too_long_is_ended(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        async with connection(service) as one, connection(service) as two:
            error = await refusal(Upload(service, one).call)
            assert error.reason is Reason.TIME_EXCEEDED
            assert "0.3 s" in error.message
            await Upload(service, two).end()

    play(CallLimits(uploads=1, idle_s=0.3), scenario)


def test_an_upload_that_drips_is_ended_too(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        async def drip() -> AsyncIterator[files_pb2.UploadPartRequest]:
            part = files_pb2.Part(digest=digest_bytes(b"x"), size_bytes=32 * MIB)
            yield files_pb2.UploadPartRequest(header=part)
            while True:
                yield files_pb2.UploadPartRequest(data=b"x")
                await asyncio.sleep(0.01)

        stub = files_pb2_grpc.FileServiceStub(service.channel)
        error = await refusal(stub.UploadPart(drip(), metadata=service.metadata))
        assert error.reason is Reason.TIME_EXCEEDED
        assert "longer than 0.5 s" in error.message

    play(CallLimits(transfer_s=0.5), scenario)


def test_an_upload_that_brings_too_little_is_ended_and_its_place_is_free(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        async def drip() -> AsyncIterator[files_pb2.UploadPartRequest]:
            part = files_pb2.Part(digest=digest_bytes(b"x"), size_bytes=32 * MIB)
            yield files_pb2.UploadPartRequest(header=part)
            while True:
                yield files_pb2.UploadPartRequest(data=bytes(100))
                await asyncio.sleep(0.01)

        async with connection(service) as one, connection(service) as two:
            stub = files_pb2_grpc.FileServiceStub(one)
            error = await refusal(stub.UploadPart(drip(), metadata=service.metadata))
            assert error.reason is Reason.TIME_EXCEEDED
            assert "less than 64 KiB/s for 0.5 s" in error.message
            assert error.metadata["limit"] == "upload_rate"
            await Upload(service, two, 3 * MIB).end()

    play(CallLimits(uploads=1, upload_rate=64 * 1024, upload_window_s=0.5), scenario)


def test_a_client_on_a_slow_line_sends_parts_one_after_another(play: Play, tmp_path: Path) -> None:
    """The line carries one part fast enough, and not three side by side."""

    async def scenario(service: QuickService) -> None:
        paths = [tmp_path / f"{number}.bin" for number in range(3)]
        for path in paths:
            path.write_bytes(os.urandom(3 * MIB))
        async with (
            slow_line(service, 3 * MIB) as address,
            await AsyncClient.connect(address, service.endpoint.token) as client,
        ):
            sent = await asyncio.gather(*(client.upload([path]) for path in paths))
        assert [file.name for (file,) in sent] == ["0.bin", "1.bin", "2.bin"]

    play(CallLimits(upload_rate=1_300_000, upload_window_s=2.0), scenario)


@asynccontextmanager
async def slow_line(service: QuickService, rate: int) -> AsyncIterator[str]:
    """The address of a line to the server that carries so many bytes a second to it."""
    host, _, port = service.endpoint.address.rpartition(":")

    async def carry(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rate: float
    ) -> None:
        clock = asyncio.get_running_loop().time
        free_s = clock()
        while data := await reader.read(64 * 1024):
            free_s = max(free_s, clock()) + len(data) / rate
            # Time is what a line is made of.
            await asyncio.sleep(free_s - clock())
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        with suppress(OSError):
            await asyncio.gather(
                carry(reader, far_writer, rate), carry(far_reader, writer, float("inf"))
            )

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as line:
        yield f"127.0.0.1:{line.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("with_token", "reason"), [(True, Reason.TIME_EXCEEDED), (False, Reason.UNAUTHENTICATED)]
)
def test_a_call_whose_request_never_comes_is_ended(
    play: Play, with_token: bool, reason: Reason
) -> None:
    async def scenario(service: QuickService) -> None:
        async def nothing() -> AsyncIterator[bytes]:
            await asyncio.Event().wait()
            yield b""

        call = service.channel.stream_unary(GET)
        metadata = service.metadata if with_token else ()
        assert (await refusal(call(nothing(), metadata=metadata))).reason is reason

    play(CallLimits(idle_s=0.3), scenario)


def test_one_that_does_not_read_its_download_is_dropped(play: Play, tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        path = tmp_path / "large.bin"
        path.write_bytes(os.urandom(24 * MIB))
        version = await service.client.create_model_version("models/large", [path])
        request = files_pb2.DownloadFileRequest(resource=version.name, file="large.bin")
        async with connection(service) as channel:
            stub = files_pb2_grpc.FileServiceStub(channel)
            lazy = stub.DownloadFile(request, metadata=service.metadata)
            await lazy.read()
            # Its place is free again only when it was dropped.
            async with await AsyncClient.connect(
                service.endpoint.address, service.endpoint.token
            ) as client:
                await client.download(version.name, version.files[0], tmp_path / "got")
            error = await refusal(_read_on(lazy))
        assert error.reason is Reason.TIME_EXCEEDED
        # A client goes on from where it was.
        assert error.retry_s
        assert (tmp_path / "got").read_bytes() == path.read_bytes()

    play(CallLimits(downloads=1, idle_s=0.5, line_s=30.0), scenario)


def test_a_watch_too_many_is_refused_and_those_that_stand_go_on(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        gate = service.folder / "gate"
        model = await service.model(gates={"reference": str(gate)})
        made = await service.client.create_conversion(model, recipe=ONE)
        stub = conversions_pb2_grpc.ConversionServiceStub(service.channel)
        request = conversions_pb2.WatchConversionRequest(name=made.name)
        first = stub.WatchConversion(request, metadata=service.metadata)
        events = aiter(first)
        await anext(events)
        second = stub.WatchConversion(request, metadata=service.metadata)
        error = await refusal(second.read())
        assert error.reason is Reason.LIMIT_REACHED
        assert error.metadata["limit"] == "watches"
        gate.touch()
        last = [answer.event async for answer in events][-1]
        assert last.state_changed.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED

    play(CallLimits(watches=1, line_s=0.1), scenario)


def test_a_call_that_waits_for_the_database_ends_in_time(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        with sqlite3.connect(
            service.folder / "state" / "edgeconv.db", isolation_level=None
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(EdgeconvError) as caught:
                await service.client.list_conversions()
            assert caught.value.reason is Reason.TIME_EXCEEDED
            assert "longer than 0.5 s" in caught.value.message
            other.execute("ROLLBACK")
        assert await service.client.list_conversions() == []

    play(CallLimits(call_s=0.5), scenario)


def test_collections_and_checks_take_as_long_as_they_need_and_say_how_far_they_are(
    play: Play,
) -> None:
    async def scenario(service: QuickService) -> None:
        told: dict[str, int] = {"collected": 0, "checked": 0}
        later = asyncio.Event()

        def tell(what: str) -> Callable[[int, int], None]:
            def note(done: int, total: int) -> None:
                told[what] += 1
                # Each half second: longer than the call's limit by far.
                if min(told.values()) >= 3:
                    later.set()

            return note

        with sqlite3.connect(
            service.folder / "state" / "edgeconv.db", isolation_level=None
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            calls = asyncio.gather(
                service.client.collect_garbage(progress=tell("collected")),
                service.client.check_blobs(progress=tell("checked")),
            )
            waits = asyncio.create_task(later.wait())
            await asyncio.wait({calls, waits}, return_when=asyncio.FIRST_COMPLETED)
            waits.cancel()
            other.execute("ROLLBACK")
        collected, checked = await calls
        assert (collected.leftovers, checked.blobs) == (0, 0)

    play(CallLimits(call_s=0.5), scenario)


def test_connections_that_say_nothing_take_no_more_than_there_are(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        host, _, port = service.endpoint.address.rpartition(":")
        before = _descriptors()
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(40)]
        with pytest.raises(EdgeconvError) as caught:
            await AsyncClient.connect(
                service.endpoint.address, service.endpoint.token, timeout_s=1.0
            )
        assert caught.value.reason is Reason.SERVER_UNREACHABLE
        # Both ends of those that were let in, and one end of those that were not.
        assert _descriptors() - before <= 40 + 8 + 2
        for _, writer in silent:
            writer.close()
        async with await AsyncClient.connect(
            service.endpoint.address, service.endpoint.token
        ) as client:
            assert await client.list_conversions() == []

    play(CallLimits(connections=8), scenario)


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_in_a_crowd_each_call_is_answered_or_told_when_to_come_again(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        stub = conversions_pb2_grpc.ConversionServiceStub(service.channel)

        async def one() -> str:
            request = conversions_pb2.ListConversionsRequest()
            try:
                await stub.ListConversions(request, metadata=service.metadata)
            except grpc.aio.AioRpcError as error:
                found = from_rpc_error(error, "server")
                assert found.reason is Reason.LIMIT_REACHED
                assert found.retry_s, found
                return found.metadata["limit"]
            return "answered"

        assert set(await asyncio.gather(*(one() for _ in range(200)))) == {"answered", "lists"}

    play(CallLimits(lists=1, line=20, line_s=2.0), scenario)


def test_a_call_that_grpc_itself_turned_away_is_made_again_too() -> None:
    async def wait(request: bytes, context: object) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def main() -> None:
        server = grpc.aio.server(maximum_concurrent_rpcs=1)
        handlers = {"Wait": grpc.unary_unary_rpc_method_handler(wait)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            calls = [asyncio.ensure_future(_bare(channel.unary_unary("/a.B/Wait"))) for _ in "ab"]
            done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            error = done.pop().result()
            assert error.reason is Reason.LIMIT_REACHED
            assert error.retry_s
            for each in waiting:
                each.cancel()
        await server.stop(None)

    asyncio.run(main())


async def _bare(method: Any) -> EdgeconvError:
    return await refusal(method(b""))


def test_a_stream_that_stands_still_is_a_lost_server_to_the_client(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model(gates={"reference": str(service.folder / "never")})
        made = await service.client.create_conversion(model, recipe=ONE)
        wire = Wire(service.endpoint.address, service.endpoint.token)
        stub = conversions_pb2_grpc.ConversionServiceStub(wire.channel)
        request = conversions_pb2.WatchConversionRequest(name=made.name)
        with pytest.raises(EdgeconvError) as caught:
            async for _ in wire.stream(stub.WatchConversion, request, idle_s=1.0):
                pass
        assert caught.value.reason is Reason.SERVER_UNREACHABLE
        await wire.close()

    play(CallLimits(), scenario)
