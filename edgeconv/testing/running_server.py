"""A whole server in this process, on loopback, for tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from edgeconv.base.ids import new_id
from edgeconv.base.state_folder import Endpoint
from edgeconv.client.aio import AsyncClient
from edgeconv.client.patience import Patience
from edgeconv.sandbox.walls import Room
from edgeconv.server.app import ServerSettings, serve
from edgeconv.testing import quick_steps
from edgeconv.testing.hand_agent import HandAgent
from edgeconv.v1 import conversions_pb2


@asynccontextmanager
async def running_server(settings: ServerSettings) -> AsyncIterator[Endpoint]:
    """Runs a server while the block runs; what it raises comes out of the block."""
    stop = asyncio.Event()
    listening: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()

    def ready(endpoint: Endpoint) -> None:
        listening.set_result(endpoint)

    server: asyncio.Task[Any] = asyncio.create_task(serve(settings, ready=ready, stop=stop))
    await asyncio.wait([server, listening], return_when=asyncio.FIRST_COMPLETED)
    if server.done():
        await server
    try:
        yield listening.result()
    finally:
        stop.set()
        await server


@dataclass(frozen=True)
class QuickService:
    """A server whose job children do quick steps, with a client.

    Attributes:
        folder: For files that a test makes.
        channel: To the server, without a token.
    """

    folder: Path
    endpoint: Endpoint
    client: AsyncClient
    channel: grpc.aio.Channel

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a bare call shows."""
        return (("authorization", f"Bearer {self.endpoint.token}"),)

    @property
    def journal(self) -> list[str]:
        """Names of the steps that ran, in order."""
        path = self.folder / "journal"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    async def send_model(self, **said: Any) -> str:
        """Sends a model and gives the version's name; see `quick_steps` for what may be said."""
        said = {"journal": str(self.folder / "journal"), "salt": new_id(), **said}
        path = quick_steps.write_quick_model(self.folder / "model.json", **said)
        return (await self.client.create_model_version("models/m", [path])).name

    async def model(self, **said: Any) -> str:
        """As `send_model`, and READY."""
        return (await self.client.wait_model_version(await self.send_model(**said))).name

    async def dataset(self, name: str, *, model: str = "", **arrays: tuple[str, list[int]]) -> str:
        """Sends a dataset of arrays, name → (dtype, shape), and gives its name."""
        described = [
            {"name": array, "dtype": dtype, "shape": shape}
            for array, (dtype, shape) in arrays.items()
        ]
        path = self.folder / "data.npz"
        path.write_text(json.dumps({"arrays": described, "samples": 8, "salt": name}))
        return (await self.client.create_dataset(f"datasets/{name}", path, model)).name

    async def convert(
        self, model: str, recipe: str, **more: Any
    ) -> tuple[conversions_pb2.Conversion, list[conversions_pb2.ConversionEvent]]:
        """Does a conversion to its end; the durable events beside it."""
        made = await self.client.create_conversion(model, recipe=recipe, **more)
        events = [event async for event in self.client.watch_conversion(made.name)]
        conversion = await self.client.get_conversion(made.name)
        return conversion, [event for event in events if event.sequence]

    def agent(
        self, name: str = "agent-1", devices: Mapping[str, Mapping[str, str]] | None = None,
        runtimes: tuple[str, ...] = ("onnxruntime", "litert"), place: str = "here",
    ) -> HandAgent:  # fmt: skip
        """An agent led by hand."""
        return HandAgent(
            self.channel, self.endpoint.token,
            agent=name, place=place, devices=devices, runtimes=runtimes,
        )  # fmt: skip


@asynccontextmanager
async def quick_service(
    folder: Path, *, patience: Patience | None = None, **settings: Any
) -> AsyncIterator[QuickService]:
    """A server in `folder`, with other settings than the usual ones where given, and a client."""
    # Quick steps keep a journal beside the state folder, and look for gates there.
    usual = {
        "child_entry": quick_steps.ENTRY, "child_room": Room(writes=(folder,)), "poll_s": 0.02,
    }  # fmt: skip
    whole = ServerSettings(folder / "state", **{**usual, **settings})
    async with (
        running_server(whole) as endpoint,
        grpc.aio.insecure_channel(endpoint.address) as channel,
        await AsyncClient.connect(endpoint.address, endpoint.token, patience=patience) as client,
    ):
        yield QuickService(folder, endpoint, client, channel)
