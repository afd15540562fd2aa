"""Fifty clients at once on one server: all get their turn, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import grpc

from edgeconv.base.digests import digest_bytes, digest_file
from edgeconv.base.errors import EdgeconvError
from edgeconv.base.ids import new_id
from edgeconv.client.aio import AsyncClient
from edgeconv.client.patience import Patience
from edgeconv.client.server_news import ServerNews
from edgeconv.server.rpc.call_limits import CallLimits
from edgeconv.testing.quick_steps import write_quick_model
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import conversions_pb2 as pb
from edgeconv.v1 import files_pb2, files_pb2_grpc

CLIENTS = 50
MODELS = 5
TWO = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}, fp16: {precision: fp16}}"
NARROW = CallLimits(calls=8, uploads=4, downloads=4, watches=40, line=16, line_s=0.2)
"""So narrow that some are refused, and have to come again."""
LIMIT_S = 240


class Told(ServerNews):
    """Counts refusals by the limit that they name."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.limits: Counter[str] = Counter()

    def busy(self, error: EdgeconvError) -> None:
        self.limits[error.metadata["limit"]] += 1


async def use(service: QuickService, number: int, news: Told) -> str:
    """A user's whole way; how it ended."""
    folder = service.folder / f"client-{number}"
    folder.mkdir()
    # Ten users a model: what one has made the others find.
    model = write_quick_model(folder / "model.json", salt=number % MODELS)
    weights = folder / "model.bin"
    weights.write_bytes(os.urandom(200_000))
    if number % 10 == 7:
        await vanish_while_sending(service)
        return "vanished"
    async with await AsyncClient.connect(
        service.endpoint.address, service.endpoint.token, patience=Patience(news=news)
    ) as client:
        await client.upload([weights])
        version = await client.create_model_version(f"models/m{number}", [model])
        await client.wait_model_version(version.name)
        made = await client.create_conversion(version.name, recipe=TWO)
        if number % 10 == 8:
            await client.cancel_conversion(made.name)
        async with aclosing(client.watch_conversion(made.name)) as events:
            async for _ in events:
                if number % 10 == 9:
                    return "vanished"
        conversion = await client.get_conversion(made.name)
        for variant in conversion.variants:
            for file in variant.files:
                path = folder / f"{variant.name}-{new_id()}"
                await client.download(f"{made.name}/variants/{variant.name}", file, path)
                assert digest_file(path) == file.digest
        assert made.name in {each.name for each in await client.list_conversions()}
        return pb.ConversionState.Name(conversion.state).removeprefix("CONVERSION_STATE_").lower()


async def vanish_while_sending(service: QuickService) -> None:
    data, half_sent = os.urandom(3_000_000), asyncio.Event()

    async def messages() -> AsyncIterator[files_pb2.UploadPartRequest]:
        part = files_pb2.Part(digest=digest_bytes(data), size_bytes=len(data))
        yield files_pb2.UploadPartRequest(header=part)
        yield files_pb2.UploadPartRequest(data=data[:1_000_000])
        half_sent.set()
        await asyncio.Event().wait()

    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(service.endpoint.address, options=options) as channel:
        stub = files_pb2_grpc.FileServiceStub(channel)
        call = stub.UploadPart(messages(), metadata=service.metadata)
        # One that is refused for want of room has vanished as well.
        ended = asyncio.ensure_future(call.code())
        sent = asyncio.ensure_future(half_sent.wait())
        await asyncio.wait([ended, sent], return_when=asyncio.FIRST_COMPLETED)
        sent.cancel()


def test_fifty_clients_at_once_get_what_they_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with quick_service(tmp_path, limits=NARROW, jobs_at_once=2) as service:
            news = Told()
            async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
                users = [group.create_task(use(service, n, news)) for n in range(CLIENTS)]
            ended = Counter(user.result() for user in users)
            assert set(ended) <= {"succeeded", "cancelled", "vanished"}
            assert ended["vanished"] == 10
            assert ended["succeeded"] >= 35
            assert set(news.limits) <= {"calls", "uploads", "downloads", "watches"}
            # Each client that waited was let in again: there is room for all of these calls.
            listed = await asyncio.gather(
                *(service.client.list_conversions() for _ in range(CLIENTS))
            )
            assert {len(each) for each in listed} == {45}
        left = list((tmp_path / "state" / "scratch").iterdir())
        assert left == []

    asyncio.run(main())
