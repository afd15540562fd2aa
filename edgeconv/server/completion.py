"""Work that must not stop half-way, whoever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")

_under_way: set[asyncio.Task[Any]] = set()


def set_going(work: Coroutine[Any, Any, None]) -> None:
    """Does `work`, which raises nothing, while nobody waits for it."""
    _keep(asyncio.create_task(work))


async def to_its_end(work: Coroutine[Any, Any, R]) -> R:
    """Does `work` and gives its result; a cancelled caller stops waiting, and the work goes on.

    It is begun by the await itself: between the two no cancellation can come.

    Raises:
        CancelledError: the caller was cancelled.
    """
    task = asyncio.create_task(work)
    _keep(task)
    return await asyncio.shield(task)


def _keep(task: asyncio.Task[Any]) -> None:
    """The event loop itself keeps no task alive."""
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
