"""What surrounds every call: who calls, required fields, and errors as they travel.

Nothing of a fault of ours goes over the wire but a number that is found in the log.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from edgeconv.base.disk import disk_error
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import new_id
from edgeconv.results.status import to_status
from edgeconv.server.rpc.fields import PRINCIPAL, check_required, refuse
from edgeconv.server.rpc.trailers import fitted

_LOG = logging.getLogger(__name__)

LOCAL = "local"
"""The principal of whoever has the state folder's token."""

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
    """Wraps every handler."""

    def __init__(self, check: TokenCheck) -> None:
        self._check = check

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], details: Any
    ) -> Any:
        """The handler of a call, wrapped."""
        handler = await continuation(details)
        if handler is None or details.method.startswith(_OPEN):
            return handler
        return self._wrapped(handler, details.method)

    def _wrapped(self, handler: Any, method: str) -> Any:
        work = (
            handler.unary_unary or handler.unary_stream
            or handler.stream_unary or handler.stream_stream
        )  # fmt: skip

        @asynccontextmanager
        async def guard(request: Any, context: Any) -> AsyncIterator[None]:
            async with _as_status(context, method):
                PRINCIPAL.set(self._check.principal(context.invocation_metadata()))
                if isinstance(request, Message):
                    check_required(request)
                yield

        async def answer(request: Any, context: Any) -> Any:
            async with guard(request, context):
                return await work(_readable(request), context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            async with guard(request, context):
                async for message in work(_readable(request), context):
                    yield message

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        return make(
            stream if handler.response_streaming else answer,
            request_deserializer=_lenient(handler.request_deserializer),
            response_serializer=handler.response_serializer,
        )


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


def _readable(request: Any) -> Any:
    """The message or the stream of messages, refused where it can't be read."""
    if isinstance(request, _Unreadable):
        raise refuse("request", "its bytes are not the call's message")
    return _each_readable(request) if isinstance(request, AsyncIterable) else request


async def _each_readable(messages: AsyncIterable[Any]) -> AsyncIterator[Any]:
    async for message in messages:
        yield _readable(message)


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
