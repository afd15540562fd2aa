"""A server for agents alone, in memory, over real gRPC: for tests of agents and drivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import grpc

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.results.status import to_status
from edgeconv.v1 import agents_pb2, agents_pb2_grpc


@dataclass
class AgentServer(agents_pb2_grpc.AgentServiceServicer):
    """Answers agents with what a test put in, and keeps what they said.

    Attributes:
        files: Digest → bytes that `FetchFile` gives.
        assigned: Given to whoever does not hold them, until they have a result.
        revoked: Taken from whoever holds them, and not assigned again.
        acknowledges: Whether results are acknowledged.
        refusal: What every `Synchronize` is refused with.
        lost: Whether `FetchFile` says that the lease is gone.
        words: All that agents said.
        refused: Devices that are not taken, and why.
        results: By fencing token.
        uploads: Result files by digest.
        fetches: Offset of each `FetchFile`.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    assigned: list[agents_pb2.Assignment] = field(default_factory=list)
    revoked: list[agents_pb2.Lease] = field(default_factory=list)
    draining: list[str] = field(default_factory=list)
    refused: dict[str, EdgeconvError] = field(default_factory=dict)
    acknowledges: bool = True
    refusal: EdgeconvError | None = None
    lost: bool = False
    words: list[agents_pb2.SynchronizeRequest] = field(default_factory=list)
    results: dict[int, agents_pb2.LeaseResult] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    fetches: list[int] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def Synchronize(
        self, request: agents_pb2.SynchronizeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> agents_pb2.SynchronizeResponse:
        if self.refusal is not None:
            await _refuse(context, self.refusal)
        for status in request.leases:
            if status.HasField("result"):
                self.results[status.lease.token] = status.result
        self.words.append(request)
        await self.tell()
        held = {(status.lease.benchmark, status.lease.token) for status in request.leases}
        response = self._answer(request, held)
        if response == agents_pb2.SynchronizeResponse():
            response = await self._hold(request, held)
        return response

    async def _hold(
        self, request: agents_pb2.SynchronizeRequest, held: set[tuple[str, int]]
    ) -> agents_pb2.SynchronizeResponse:
        with suppress(TimeoutError):
            async with asyncio.timeout(request.wait.ToNanoseconds() / 1e9), self.changed:
                await self.changed.wait_for(lambda: len(self._answer(request, held).assignments))
        return self._answer(request, held)

    def _answer(
        self, request: agents_pb2.SynchronizeRequest, held: set[tuple[str, int]]
    ) -> agents_pb2.SynchronizeResponse:
        acknowledged = [
            status.lease
            for status in request.leases
            if status.HasField("result") and self.acknowledges
        ]
        ended = set(self.results)
        return agents_pb2.SynchronizeResponse(
            assignments=[
                each
                for each in self.assigned
                if (each.lease.benchmark, each.lease.token) not in held
                and each.lease.token not in ended
                and each.lease not in self.revoked
            ],
            revoked=[lease for lease in self.revoked if (lease.benchmark, lease.token) in held],
            acknowledged=acknowledged,
            draining_devices=self.draining,
            refused_devices=[
                agents_pb2.RefusedDevice(device=device, error=to_status(error))
                for device, error in self.refused.items()
            ],
        )

    async def FetchFile(
        self, request: agents_pb2.FetchFileRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[agents_pb2.FetchFileResponse]:
        if self.lost:
            await _refuse(context, EdgeconvError(Reason.LEASE_LOST, "The lease is gone."))
        self.fetches.append(request.offset_bytes)
        data = self.files[request.digest][request.offset_bytes :]
        for offset in range(0, len(data), 10_000):
            yield agents_pb2.FetchFileResponse(data=data[offset : offset + 10_000])

    async def UploadResult(
        self,
        request_iterator: AsyncIterator[agents_pb2.UploadResultRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> agents_pb2.UploadResultResponse:
        header, data = agents_pb2.ResultHeader(), b""
        async for message in request_iterator:
            if message.HasField("header"):
                header = message.header
            data += message.data
        assert digest_bytes(data) == header.digest
        assert len(data) == header.size_bytes
        self.uploads[header.digest] = data
        return agents_pb2.UploadResultResponse(digest=header.digest)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serves on a free port of this machine; gives the address."""
        server = grpc.aio.server()
        agents_pb2_grpc.add_AgentServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)

    async def tell(self) -> None:
        """Lets held answers and waiting tests look again."""
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Callable[[], object], *, limit_s: float = 20.0) -> None:
        """Waits until a condition holds; looked at whenever an agent was heard.

        Raises:
            TimeoutError: it does not hold within the limit.
        """
        async with asyncio.timeout(limit_s), self.changed:
            await self.changed.wait_for(lambda: bool(condition()))


async def _refuse(context: grpc.aio.ServicerContext[Any, Any], error: EdgeconvError) -> None:
    status = to_status(error)
    await context.abort(
        grpc.StatusCode.ABORTED,
        status.message,
        (("grpc-status-details-bin", status.SerializeToString()),),
    )
