"""Bytes that come as a stream of messages: a header first, then data only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.quantities import format_bytes
from edgeconv.server.blobs.blobs import CHUNK_BYTES
from edgeconv.server.rpc.call_limits import CallLimits
from edgeconv.server.rpc.fields import check_fields, refuse
from edgeconv.server.rpc.upload_pace import Pace


async def read_header(messages: AsyncIterator[Any]) -> Any:
    """The header in the first message.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    async for first in messages:
        if not first.HasField("header"):
            break
        if first.data:
            raise refuse("data", "the first message carries the header only")
        check_fields(first.header)
        return first.header
    raise refuse("header", "the first message must carry it")


async def read_data(messages: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """The data of the messages after the first one.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    async for message in messages:
        if message.HasField("header"):
            raise refuse("header", "only the first message carries it")
        # Each look at the field makes a copy of its bytes.
        data = message.data
        if len(data) > CHUNK_BYTES:
            raise refuse("data", f"a message carries at most {CHUNK_BYTES} bytes (1 MiB)")
        if not data:
            raise refuse("data", "is empty")
        yield data


async def fast_enough(messages: AsyncIterator[Any], limits: CallLimits) -> AsyncIterator[Any]:
    """Messages of an upload that holds a place for which others wait.

    Raises:
        EdgeconvError: TIME_EXCEEDED when they bring too little.
    """
    pace = Pace(limits.upload_rate, limits.upload_window_s)
    clock = asyncio.get_running_loop().time
    # What this side takes to store what came is not the sender's.
    waited_s = 0.0
    while True:
        began_s = clock()
        try:
            async with asyncio.timeout(pace.until_s - waited_s):
                message = await anext(messages)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise _too_slow(limits) from None
        waited_s += clock() - began_s
        pace.came(len(message.data), waited_s)
        yield message


def _too_slow(limits: CallLimits) -> EdgeconvError:
    rate = f"{format_bytes(limits.upload_rate)}/s"
    return EdgeconvError(
        Reason.TIME_EXCEEDED,
        f"The upload brought less than {rate} for {limits.upload_window_s:g} s, and was ended.",
        fix="Send the part again, and fewer parts at a time; parts that were stored stay.",
        limit="upload_rate",
        bytes_per_second=limits.upload_rate,
    )
