"""The agent's calls to the server. The only place in the agent that knows gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from edgeconv.agent.messages import lease_message
from edgeconv.agent.work import AssignedFile, Lease
from edgeconv.base.digests import digest_file
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.parts import MESSAGE_BYTES
from edgeconv.client.wire import IDLE_S, Wire
from edgeconv.v1 import agents_pb2, agents_pb2_grpc

_GRACE_S = 10.0


class Link:
    """A connection to one server; it is made, and made again, as calls need it."""

    def __init__(self, address: str, token: str) -> None:
        self._wire = Wire(address, token)
        self._stub: agents_pb2_grpc.AgentServiceAsyncStub = agents_pb2_grpc.AgentServiceStub(
            self._wire.channel
        )

    async def synchronize(
        self, request: agents_pb2.SynchronizeRequest
    ) -> agents_pb2.SynchronizeResponse:
        """Says the agent's word and hears the server's.

        Raises:
            EdgeconvError: SERVER_UNREACHABLE, also when it answers far later than asked.
        """
        deadline_s = request.wait.ToNanoseconds() / 1e9 + _GRACE_S
        return await self._wire.unary(self._stub.Synchronize, request, deadline_s=deadline_s)

    async def fetch(self, lease: Lease, file: AssignedFile, destination: Path) -> None:
        """Completes `destination`, going on after the bytes it has; checks the size only.

        Raises:
            EdgeconvError: LEASE_LOST, SERVER_UNREACHABLE; DIGEST_MISMATCH when the file is
                not of the size that the assignment names.
        """
        if destination.exists() and destination.stat().st_size > file.size_bytes:
            destination.unlink()
        with destination.open("ab") as stream:
            request = agents_pb2.FetchFileRequest(
                lease=lease_message(lease), digest=file.digest, offset_bytes=stream.tell()
            )
            if stream.tell() < file.size_bytes:
                answers = self._wire.stream(self._stub.FetchFile, request, idle_s=IDLE_S)
                async for answer in answers:
                    stream.write(answer.data)
                    if stream.tell() > file.size_bytes:
                        break
            size = stream.tell()
        if size != file.size_bytes:
            destination.unlink()
            raise EdgeconvError(
                Reason.DIGEST_MISMATCH,
                f"{file.name!r} came with {size} bytes, and the assignment says {file.size_bytes}.",
                file=file.name,
            )

    async def upload(self, lease: Lease, role: str, path: Path) -> str:
        """Sends a result file, "record" or "outputs", and gives its digest.

        Raises:
            EdgeconvError: LEASE_LOST, SERVER_UNREACHABLE.
        """
        header = agents_pb2.ResultHeader(
            lease=lease_message(lease),
            role=role,
            # Up to 256 MiB are read: meanwhile the agent must be heard.
            digest=await asyncio.to_thread(digest_file, path),
            size_bytes=path.stat().st_size,
        )
        await self._wire.send(self._stub.UploadResult, _messages(header, path))
        return header.digest

    async def close(self) -> None:
        """Closes the connection."""
        await self._wire.close()


async def _messages(
    header: agents_pb2.ResultHeader, path: Path
) -> AsyncIterator[agents_pb2.UploadResultRequest]:
    yield agents_pb2.UploadResultRequest(header=header)
    with path.open("rb") as stream:
        while chunk := stream.read(MESSAGE_BYTES):
            yield agents_pb2.UploadResultRequest(data=chunk)
