"""Streams that go on after a server was lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol, TypeVar

from edgeconv.base.errors import EdgeconvError
from edgeconv.client.event_cursor import TERMINAL_STATES, EventCursor, is_end
from edgeconv.client.patience import Patience, rest
from edgeconv.client.rpc_errors import unreachable
from edgeconv.client.wire import Wire
from edgeconv.v1 import conversions_pb2, conversions_pb2_grpc

Activity = Callable[[str], None]
"""Told in words what is being done."""


class _Inspected(Protocol):
    """An answer about something that is being inspected."""

    @property
    def activity(self) -> str: ...


Response = TypeVar("Response", bound=_Inspected)


async def watch_conversion(
    wire: Wire, name: str, after_sequence: int, patience: Patience
) -> AsyncGenerator[conversions_pb2.ConversionEvent, None]:
    """Events after a sequence, each durable one once and in order, until the state is terminal.

    Raises:
        EdgeconvError: what the server refuses; SERVER_UNREACHABLE when patience has ended.
    """
    stub: conversions_pb2_grpc.ConversionServiceAsyncStub = (
        conversions_pb2_grpc.ConversionServiceStub(wire.channel)
    )
    cursor, left = EventCursor(after_sequence), patience
    while not cursor.ended:
        request = conversions_pb2.WatchConversionRequest(name=name, after_sequence=cursor.sequence)
        try:
            stream = wire.stream(stub.WatchConversion, request, taken=left.tell_back)
            async with aclosing(stream) as responses:
                async for response in responses:
                    cursor, new = await _taken(wire, stub, name, cursor, response.event)
                    left = left.renewed()
                    if new:
                        yield response.event
            if cursor.ended or await _is_known_to_end(wire, stub, name, cursor):
                return
            left = await rest(unreachable(wire.address, "The stream ended early."), left)
        except EdgeconvError as error:
            left = await rest(error, left)


async def _taken(
    wire: Wire,
    stub: conversions_pb2_grpc.ConversionServiceAsyncStub,
    name: str,
    cursor: EventCursor,
    event: conversions_pb2.ConversionEvent,
) -> tuple[EventCursor, bool]:
    """As `EventCursor.take`; of a conversion whose files were removed only its end is kept."""
    try:
        return cursor.take(event)
    except EdgeconvError:
        if not is_end(event):
            raise
        request = conversions_pb2.GetConversionRequest(name=name)
        conversion = (await wire.unary(stub.GetConversion, request)).conversion
        if not conversion.HasField("collected_time"):
            raise
        return cursor.at(event), True


async def _is_known_to_end(
    wire: Wire,
    stub: conversions_pb2_grpc.ConversionServiceAsyncStub,
    name: str,
    cursor: EventCursor,
) -> bool:
    """Whether the conversion had ended at or before the cursor."""
    request = conversions_pb2.GetConversionRequest(name=name)
    conversion = (await wire.unary(stub.GetConversion, request)).conversion
    return conversion.state in TERMINAL_STATES and conversion.sequence <= cursor.sequence


async def last_answer(
    wire: Wire,
    call: Callable[[], AsyncIterator[Response]],
    is_last: Callable[[Response], bool],
    patience: Patience,
    activity: Activity | None = None,
) -> Response:
    """The answer that ends a stream which sends the whole state at each change.

    Args:
        activity: Told what is being done, whenever that changes.

    Raises:
        EdgeconvError: what the server refuses; SERVER_UNREACHABLE when patience has ended.
    """
    left, told = patience, ""
    while True:
        try:
            async for response in call():
                left = left.renewed()
                if activity is not None and response.activity not in ("", told):
                    activity(response.activity)
                told = response.activity
                if is_last(response):
                    return response
            left = await rest(unreachable(wire.address, "The stream ended early."), left)
        except EdgeconvError as error:
            left = await rest(error, left)
