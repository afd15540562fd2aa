"""A gRPC server that takes a stream of bytes and does nothing with them.

The peer of an upload: what the transport itself can do. `python -m benchmarks.bare_stream`
prints its port and serves until its input is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import grpc

_METHOD = "/bare.Bytes/Send"
MESSAGE_BYTES = 1024 * 1024


async def send(address: str, content: bytes) -> float:
    """Seconds for a stream of these bytes in messages of 1 MiB."""

    async def messages() -> AsyncIterator[bytes]:
        for offset in range(0, len(content), MESSAGE_BYTES):
            yield content[offset : offset + MESSAGE_BYTES]

    async with grpc.aio.insecure_channel(address) as channel:
        await channel.channel_ready()
        began = time.monotonic()
        call: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(_METHOD)
        answer = await call(messages())
        took = time.monotonic() - began
    if int(answer) != len(content):
        raise RuntimeError(f"{int(answer)} of {len(content)} bytes arrived")
    return took


@contextlib.contextmanager
def running_peer() -> Iterator[str]:
    """Starts the server in a process of its own and gives its address."""
    command = [sys.executable, "-m", "benchmarks.bare_stream"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


async def _count(request_iterator: AsyncIterator[bytes], context: object) -> bytes:
    received = 0
    async for message in request_iterator:
        received += len(message)
    return str(received).encode()


async def _serve() -> None:
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(_count)
    service = grpc.method_handlers_generic_handler("bare.Bytes", {"Send": handler})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve())
