"""A whole server in this process, on loopback, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edgeconv.base.state_folder import Endpoint
from edgeconv.server.app import ServerSettings, serve


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
