"""The server as a whole: the one place that names implementations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeconv.base.state_folder import Endpoint


@dataclass(frozen=True)
class ServerSettings:
    """How a server is set up.

    Attributes:
        state: Its state folder.
        listen: "host:port"; port 0 takes a free one.
        jobs_at_once: Conversions that run side by side.
    """

    state: Path
    listen: str = "127.0.0.1:0"
    jobs_at_once: int = 1


async def serve(
    settings: ServerSettings, *, ready: Callable[[Endpoint], None], stop: asyncio.Event
) -> None:
    """Runs a server until `stop` is set; calls `ready` when it listens.

    Raises:
        EdgeconvError: STATE_LOCKED when another server uses the state folder.
    """
    raise NotImplementedError
