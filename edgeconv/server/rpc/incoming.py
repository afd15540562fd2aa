"""Bytes that come as a stream of messages: a header first, then data only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from edgeconv.server.blobs.blobs import CHUNK_BYTES
from edgeconv.server.rpc.fields import check_fields, refuse


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
