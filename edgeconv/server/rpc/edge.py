"""What surrounds every call: who calls, whether there is room, how long it may take, required
fields, and errors as they travel.

Nothing of a fault of ours goes over the wire but a number that is found in the log.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from edgeconv.base.disk import disk_error
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import new_id
from edgeconv.results.status import to_status
from edgeconv.server.completion import set_going
from edgeconv.server.rpc.fields import PRINCIPAL, check_fields, refuse
from edgeconv.server.rpc.gates import CALLER, Gates
from edgeconv.server.rpc.trailers import fitted

_LOG = logging.getLogger(__name__)

LOCAL = "local"
"""The principal of whoever has the state folder's token."""

_READ_AGAIN_S = 1.0
_OPEN = ("/grpc.health.v1.Health/",)
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class TokenCheck:
    """Knows callers by the bearer token of the state folder."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    def principal(self, metadata: Any) -> str:
        """Who calls.

        Raises:
            EdgeconvError: UNAUTHENTICATED.
        """
        shown = next((value for key, value in metadata or () if key == "authorization"), "")
        if not hmac.compare_digest(str(shown).encode(), self._expected):
            raise EdgeconvError(
                Reason.UNAUTHENTICATED,
                "The call carries no valid token.",
                fix="Set EDGECONV_TOKEN to what the file `token` in the server's state folder"
                " holds; other clients send it as `authorization: Bearer …`.",
            )
        return LOCAL


class Edge(grpc.aio.ServerInterceptor):
    """Wraps every handler.

    To gRPC every call's request is a stream. So it is known who calls, and whether there is
    room, before any of a request is read, and one that never comes is not waited for for ever.
    """

    def __init__(self, check: TokenCheck, gates: Gates) -> None:
        self._check = check
        self._gates = gates

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        """The handler of a call, wrapped."""
        handler = await continuation(details)
        return None if handler is None else self._wrapped(handler, details.method)

    def _wrapped(self, handler: Any, method: str) -> Any:
        work = (
            handler.unary_unary or handler.unary_stream
            or handler.stream_unary or handler.stream_stream
        )  # fmt: skip
        idle_s = self._gates.limits.idle_s

        async def request_of(messages: AsyncIterator[Any]) -> Any:
            if handler.request_streaming:
                return messages
            async for message in messages:
                check_fields(message)
                return message
            raise refuse("request", "there is none")

        async def answer(incoming: Any, context: Any) -> Any:
            async with self._guard(method, context):
                messages = _timely(incoming, idle_s)
                return await work(await request_of(messages), context)

        async def stream(incoming: Any, context: Any) -> None:
            async with self._guard(method, context):
                messages = _timely(incoming, idle_s)
                async with aclosing(work(await request_of(messages), context)) as answers:
                    async for message in answers:
                        await _write(context, message, idle_s, method)

        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        return make(
            stream if handler.response_streaming else answer,
            request_deserializer=_lenient(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )

    @asynccontextmanager
    async def _guard(self, method: str, context: Any) -> AsyncIterator[None]:
        """Around all that is done for a call."""
        longest_s = self._gates.longest_s(method)
        async with _as_status(context, method):
            who = ""
            if not method.startswith(_OPEN):
                who = self._check.principal(context.invocation_metadata())
                PRINCIPAL.set(who)
            CALLER.set(f"{who} {context.peer()}")
            async with self._gates.of(method).passed(CALLER.get()):
                try:
                    async with asyncio.timeout(longest_s) as limit:
                        yield
                except TimeoutError:
                    if not limit.expired():
                        raise
                    raise EdgeconvError(
                        Reason.TIME_EXCEEDED,
                        f"The call took longer than {longest_s:g} s, and was ended.",
                        fix="Call again when the server has less to do. Of a list, ask for"
                        " smaller pages.",
                        limit_s=longest_s,
                    ) from None


async def _timely(messages: AsyncIterable[Any], idle_s: float) -> AsyncIterator[Any]:
    """Messages that can be read, each of which comes in time.

    Raises:
        EdgeconvError: FIELD_INVALID, TIME_EXCEEDED.
    """
    source = aiter(messages)
    while True:
        try:
            async with asyncio.timeout(idle_s):
                message = await anext(source)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise EdgeconvError(
                Reason.TIME_EXCEEDED,
                f"No message of the call came for {idle_s:g} s.",
                fix="Send what is to be sent without long pauses.",
                limit_s=idle_s,
            ) from None
        if isinstance(message, _Unreadable):
            raise refuse("request", "its bytes are not the call's message")
        yield message


async def _write(context: Any, message: Any, idle_s: float, method: str) -> None:
    """Sends a message; a caller that leaves it lying for too long is told so and let go."""
    try:
        async with asyncio.timeout(idle_s):
            await context.write(message)
    except grpc.aio.InternalError as fault:
        # Nothing can be sent any more: the caller has gone, and the cancellation is under way.
        _LOG.info("%s: %s has gone: %s", method, CALLER.get(), fault)
        raise asyncio.CancelledError from fault
    except TimeoutError:
        _LOG.warning("%s: %s read nothing for %g s, and is dropped", method, CALLER.get(), idle_s)
        error = EdgeconvError(
            Reason.TIME_EXCEEDED,
            f"Nothing of the answer was read for {idle_s:g} s.",
            fix="Read it as it comes; what is left can be asked for again.",
            retry_s=_READ_AGAIN_S,
            limit_s=idle_s,
        )
        # The word waits behind what was not read. Nobody here waits for it.
        set_going(_last_word(context, error))
        raise asyncio.CancelledError from None


async def _last_word(context: Any, error: EdgeconvError) -> None:
    with suppress(grpc.aio.AbortError):
        await _abort(context, error)


class _Unreadable:
    """Stands for bytes that are no message until it is known who sent them."""


def _lenient(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """A reader that does not raise: gRPC would answer UNKNOWN, and log the trace of a stranger."""

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return _Unreadable()

    return read


@asynccontextmanager
async def _as_status(context: Any, method: str) -> AsyncIterator[None]:
    try:
        yield
    except EdgeconvError as error:
        await _abort(context, error)
    except (grpc.aio.AbortError, asyncio.CancelledError):
        raise
    except Exception as fault:
        if known := disk_error(fault, None):
            _LOG.error("%s failed: %s", method, fault)
            await _abort(context, known)
        # Whatever it is, the caller gets an answer and the log the trace.
        incident = new_id()
        _LOG.exception("%s failed, incident %s", method, incident)
        await _abort(
            context,
            EdgeconvError(
                Reason.INTERNAL,
                f"The server failed; its log tells more under {incident}.",
                incident=incident,
            ),
        )


async def _abort(context: Any, error: EdgeconvError) -> None:
    error = fitted(error)
    status = to_status(error)
    await context.abort(
        _CODES[status.code],
        error.message,
        trailing_metadata=(("grpc-status-details-bin", status.SerializeToString()),),
    )
