"""Calls that are made again until a server answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import Endpoint
from edgeconv.client.aio import AsyncClient
from edgeconv.client.patience import Patience
from edgeconv.v1 import conversions_pb2

T = TypeVar("T")

_PAUSE_S = 0.03
_AT_ONCE = Patience(limit_s=0.0)
_AWAY = (Reason.SERVER_UNREACHABLE, Reason.DATABASE_UNAVAILABLE)
"""What passes: a server is killed, or its connections to the database are cut."""


class Reach:
    """The servers that can be reached now; several of one store answer alike."""

    def __init__(self) -> None:
        self._endpoints: list[Endpoint] = []
        self._changed = asyncio.Event()

    def add(self, endpoint: Endpoint) -> None:
        """A server listens."""
        self._endpoints.append(endpoint)
        self._changed.set()

    def remove(self, endpoint: Endpoint) -> None:
        """A server is dead; another one may come to listen in its place."""
        self._endpoints.remove(endpoint)

    async def endpoint(self) -> Endpoint:
        """A server that listens, as soon as there is one: the one that came last."""
        while not self._endpoints:
            self._changed.clear()
            await self._changed.wait()
        return self._endpoints[-1]

    async def call(self, make: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """Makes a call until it is answered.

        Raises:
            EdgeconvError: a server's answer.
        """
        while True:
            server = await self.endpoint()
            try:
                # A connection of its own: an old one would be slow to see a new server.
                async with await AsyncClient.connect(
                    server.address, server.token, timeout_s=1.0, patience=_AT_ONCE
                ) as client:
                    return await make(client)
            except EdgeconvError as error:
                if error.reason not in _AWAY:
                    raise
            await asyncio.sleep(_PAUSE_S)

    async def watch(self, conversion: str) -> list[conversions_pb2.ConversionEvent]:
        """The events of a conversion to its end, over all losses of the server."""
        events: list[conversions_pb2.ConversionEvent] = []

        async def go_on(client: AsyncClient) -> None:
            after = events[-1].sequence if events else 0
            async for event in client.watch_conversion(conversion, after):
                if event.sequence:
                    events.append(event)  # noqa: PERF401 what came before a loss is kept

        await self.call(go_on)
        return events
