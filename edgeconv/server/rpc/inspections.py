"""What calls of models and datasets have in common: an inspection that is watched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from edgeconv.server.records import DatasetRecord, ModelVersionRecord
from edgeconv.server.rpc.service_tools import ServiceTools

R = TypeVar("R", ModelVersionRecord, DatasetRecord)


async def watch_inspection(
    tools: ServiceTools, name: str, read: Callable[[], Awaitable[R]], context: Any
) -> AsyncIterator[tuple[R, str]]:
    """The record and what is being done, at once and after each change, until it has ended.

    Raises:
        EdgeconvError: that of `read`.
    """
    # Tells a client that comes back after a loss, though there may be no news.
    await context.send_initial_metadata(())
    sent = None
    with tools.changes.watching(name) as watch:
        while True:
            watch.clear()
            async with tools.gates.looks:
                record = await read()
            now = (record, tools.progress.words(name))
            if now != sent:
                sent = now
                yield now
            if record.state != "inspecting":
                return
            await watch.wait(tools.gates.look_again_s())
