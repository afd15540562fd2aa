"""Clients of a load: each does a user's whole way again and again, and some misbehave."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import grpc

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import new_id
from edgeconv.base.state_folder import Endpoint
from edgeconv.client.aio import AsyncClient
from edgeconv.client.patience import Patience
from edgeconv.client.server_news import ServerNews
from edgeconv.results.status import from_status
from edgeconv.testing.quick_steps import write_quick_model
from edgeconv.v1 import conversions_pb2, files_pb2, files_pb2_grpc

R = TypeVar("R")

RECIPE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}, fp16: {precision: fp16}}"
SIZES_BYTES = (1_000, 100_000, 3_000_000, 20_000_000)
"""Sizes of models; most are small."""
_WEIGHTS = (6, 3, 2, 1)
_ENDED = {
    conversions_pb2.CONVERSION_STATE_SUCCEEDED: "succeeded",
    conversions_pb2.CONVERSION_STATE_CANCELLED: "cancelled",
}


@dataclass
class Figures:
    """What all clients saw.

    Attributes:
        seconds: Latency of each call, by verb.
        rounds: Rounds that each client ended.
        outcomes: How conversions ended, and who left in the middle of what.
        asked_again: Refusals after which a client tried again, by what was short.
        refusals: Errors that came through to a client, by reason.
        faults: Errors that no document tells of.
    """

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    rounds: Counter[int] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    asked_again: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class LoadClient:
    """One client.

    Args:
        number: Its own; also the seed of what it chooses.
        folder: For its files.
    """

    def __init__(self, number: int, endpoint: Endpoint, folder: Path, figures: Figures) -> None:
        self._number = number
        self._endpoint = endpoint
        self._folder = folder
        self._figures = figures
        self._chance = random.Random(number)

    async def run(self, until: float) -> None:
        """Goes round after round, at least one; `until` is a time of the event loop."""
        while not self._figures.rounds[self._number] or asyncio.get_running_loop().time() < until:
            try:
                async with await self._client() as client:
                    await self._round(client)
            except EdgeconvError as error:
                self._figures.refusals[error.reason.name] += 1
                if error.reason is not Reason.LIMIT_REACHED:
                    self._figures.faults.append(f"client {self._number}: {error}")
            self._figures.rounds[self._number] += 1

    async def _client(self) -> AsyncClient:
        patience = Patience(news=_Counted(self._figures))
        return await AsyncClient.connect(
            self._endpoint.address, self._endpoint.token, patience=patience
        )

    async def _round(self, client: AsyncClient) -> None:
        what = self._chance.choices(
            ("stay", "cancel", "vanish while sending", "vanish while watching"), (12, 2, 1, 1)
        )[0]
        if what == "vanish while sending":
            await leave_upload(self._endpoint)
            self._figures.outcomes[what] += 1
            return
        size = self._chance.choices(SIZES_BYTES, _WEIGHTS)[0]
        model = write_quick_model(self._folder / "model.json", salt=new_id())
        ballast = self._folder / "model.bin"
        ballast.write_bytes(os.urandom(size))
        version = await self._timed(
            "create version",
            client.create_model_version(f"models/load-{self._number}", [model, ballast]),
        )
        await self._timed("wait for version", client.wait_model_version(version.name))
        made = await self._timed(
            "create conversion", client.create_conversion(version.name, recipe=RECIPE)
        )
        if what == "vanish while watching":
            await self._watch(client, made.name, events=2)
            self._figures.outcomes[what] += 1
            return
        if what == "cancel":
            await self._timed("cancel", client.cancel_conversion(made.name))
        await self._timed("watch", self._watch(client, made.name))
        await self._look(client, made.name)

    async def _watch(self, client: AsyncClient, name: str, events: int | None = None) -> None:
        async with aclosing(client.watch_conversion(name)) as stream:
            seen = 0
            async for _ in stream:
                seen += 1
                if seen == events:
                    return

    async def _look(self, client: AsyncClient, name: str) -> None:
        conversion = await self._timed("get", client.get_conversion(name))
        ended = _ENDED.get(conversion.state, "neither succeeded nor cancelled")
        self._figures.outcomes[ended] += 1
        if ended not in _ENDED.values():
            why = [from_status(variant.error).message for variant in conversion.variants]
            self._figures.faults.append(f"{name}: {why}")
        for variant in conversion.variants:
            for file in variant.files:
                resource = f"{name}/variants/{variant.name}"
                target = self._folder / f"{variant.name}-{file.name}"
                await self._timed("download", client.download(resource, file, target))
        await self._timed("list", client.list_conversions(limit=50))
        await self._timed("list all", client.list_conversions())

    async def _timed(self, verb: str, call: Awaitable[R]) -> R:
        began = time.monotonic()
        result = await call
        self._figures.seconds[verb].append(time.monotonic() - began)
        return result


class _Counted(ServerNews):
    """Counts refusals instead of telling of some."""

    def __init__(self, figures: Figures) -> None:
        super().__init__(lambda _: None)
        self._figures = figures

    def busy(self, error: EdgeconvError) -> None:
        """One more of its kind."""
        self._figures.asked_again[error.metadata.get("limit", "?")] += 1


async def leave_upload(endpoint: Endpoint, size_bytes: int = 8_000_000) -> None:
    """Begins an upload, sends half of it, and closes the connection."""
    data = os.urandom(size_bytes)
    half_sent = asyncio.Event()

    async def messages() -> AsyncIterator[files_pb2.UploadPartRequest]:
        part = files_pb2.Part(digest=digest_bytes(data), size_bytes=size_bytes)
        yield files_pb2.UploadPartRequest(header=part)
        for offset in range(0, size_bytes // 2, 1_000_000):
            yield files_pb2.UploadPartRequest(data=data[offset : offset + 1_000_000])
        half_sent.set()
        await asyncio.Event().wait()

    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(endpoint.address, options=options) as channel:
        stub: files_pb2_grpc.FileServiceAsyncStub = files_pb2_grpc.FileServiceStub(channel)
        call = stub.UploadPart(
            messages(), metadata=(("authorization", f"Bearer {endpoint.token}"),)
        )
        await asyncio.wait(
            [asyncio.ensure_future(half_sent.wait()), asyncio.ensure_future(call.code())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        call.cancel()
