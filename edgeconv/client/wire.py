"""A channel to a server: token, deadlines, and errors as EdgeconvError."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

import grpc

from edgeconv.client.patience import Patience, rest
from edgeconv.client.rpc_errors import from_rpc_error, unreachable

Request = TypeVar("Request")
Response = TypeVar("Response")

UNARY_DEADLINE_S = 30.0
TRANSFER_DEADLINE_S = 600.0
IDLE_S = 60.0
"""How long a download may stand still."""
_MAX_RECEIVED_BYTES = 64 * 1024 * 1024
_LOOPBACK = ("127.", "localhost", "[::1]", "unix:", "ipv4:127.")


class Wire:
    """Calls to one server. Use inside one event loop; `close` it at the end.

    Args:
        patience: How long a call is tried again for which the server has no room. Without it
            such a refusal is raised.
    """

    def __init__(self, address: str, token: str, patience: Patience | None = None) -> None:
        self.address = address
        self._patience = patience or Patience(busy_limit_s=0.0)
        self.channel = grpc.aio.insecure_channel(address, options=_options(address))
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    async def wait_ready(self, timeout_s: float) -> None:
        """Waits for the connection.

        Raises:
            EdgeconvError: SERVER_UNREACHABLE when it does not stand in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self.channel.channel_ready()
        except TimeoutError:
            raise unreachable(self.address) from None

    async def unary(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        *,
        deadline_s: float = UNARY_DEADLINE_S,
    ) -> Response:
        """One request, one answer.

        Args:
            deadline_s: Of each try.

        Raises:
            EdgeconvError: what the server sent, or SERVER_UNREACHABLE.
        """
        patience = self._patience
        while True:
            try:
                return await method(request, timeout=deadline_s, metadata=self._metadata)
            except grpc.aio.AioRpcError as error:
                found = from_rpc_error(error, self.address)
            if not found.retry_s:
                raise found
            # It was refused before anything was done.
            patience = await rest(found, patience)

    async def send(
        self,
        method: grpc.aio.StreamUnaryMultiCallable[Request, Response],
        requests: AsyncIterator[Request],
        *,
        deadline_s: float = TRANSFER_DEADLINE_S,
    ) -> Response:
        """Many requests, one answer.

        Raises:
            EdgeconvError: what the server sent, or SERVER_UNREACHABLE.
        """
        try:
            return await method(requests, timeout=deadline_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self.address) from None

    async def stream(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Request, Response],
        request: Request,
        *,
        idle_s: float | None = None,
        taken: Callable[[], None] | None = None,
    ) -> AsyncGenerator[Response, None]:
        """One request, many answers; the call ends when the iterator is closed.

        Args:
            idle_s: How long the next answer may take, in seconds; None for as long as it likes.
            taken: Called when the server has taken the call, or sent its first answer.

        Raises:
            EdgeconvError: what the server sent, or SERVER_UNREACHABLE.
        """
        call = method(request, metadata=self._metadata)
        try:
            if taken is not None:
                await call.wait_for_connection()
                taken()
            answers = aiter(call)
            while True:
                try:
                    async with asyncio.timeout(idle_s):
                        response = await anext(answers)
                except StopAsyncIteration:
                    return
                yield response
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, self.address) from None
        except TimeoutError:
            raise unreachable(self.address, f"Nothing came for {idle_s} s.") from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Closes the connection; open calls end."""
        await self.channel.close()


def _options(address: str) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", _MAX_RECEIVED_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # Without pings a watch would never learn that the other machine, or the way to it,
        # is gone: nothing is sent on a stream that waits.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # Clients of one process would share a connection, and its share of the server.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if address.startswith(_LOOPBACK):
        options.append(("grpc.enable_http_proxy", 0))
    return options
