"""An agent led by hand: each call to the server is one that a test makes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from edgeconv.base.digests import digest_bytes
from edgeconv.base.ids import new_id
from edgeconv.v1 import agents_pb2, agents_pb2_grpc, benchmarks_pb2, devices_pb2


class HandAgent:
    """Speaks an agent's calls over a channel.

    Attributes:
        leases: What the agent says it holds at its next call.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        token: str,
        *,
        agent: str = "agent-1",
        place: str = "here",
        devices: Mapping[str, Mapping[str, str]] | None = None,
        runtimes: tuple[str, ...] = ("onnxruntime", "litert"),
    ) -> None:
        """`devices` is name → labels."""
        self.call(channel, token)
        self._agent = agent
        self._place = place
        self._incarnation = new_id()
        self._devices = devices or {"devices/a": {}}
        self._runtimes = runtimes
        self.leases: list[agents_pb2.LeaseStatus] = []

    def call(self, channel: grpc.aio.Channel, token: str) -> None:
        """Speaks to this server from now on."""
        self._stub: agents_pb2_grpc.AgentServiceAsyncStub = agents_pb2_grpc.AgentServiceStub(
            channel
        )
        self._metadata = (("authorization", f"Bearer {token}"),)

    def restart(self) -> None:
        """Forgets all leases, as a fresh start of the agent does."""
        self._incarnation = new_id()
        self.leases = []

    async def synchronize(
        self, *, wait_s: float = 0.0, leaving: bool = False
    ) -> agents_pb2.SynchronizeResponse:
        """One call; what the server acknowledges or revokes is dropped from `leases`."""
        request = agents_pb2.SynchronizeRequest(
            agent=self._agent,
            place=self._place,
            incarnation=self._incarnation,
            version="0",
            devices=[
                agents_pb2.AgentDevice(
                    name=name,
                    labels=dict(labels),
                    capabilities=devices_pb2.DeviceCapabilities(
                        runtimes=dict.fromkeys(self._runtimes, "1"), kind="test"
                    ),
                )
                for name, labels in self._devices.items()
            ],
            leases=self.leases,
            leaving=leaving,
        )
        request.wait.FromMilliseconds(int(wait_s * 1000))
        answer = await self._stub.Synchronize(request, metadata=self._metadata)
        gone = [*answer.acknowledged, *answer.revoked]
        self.leases = [each for each in self.leases if each.lease not in gone]
        return answer

    def hold(self, assignment: agents_pb2.Assignment, message: str = "measuring") -> None:
        """Holds an assignment from now on."""
        self.leases.append(
            agents_pb2.LeaseStatus(
                lease=assignment.lease,
                message=message,
                fraction=-1,
                device_state=devices_pb2.DEVICE_STATE_BUSY,
            )
        )

    def drop(self, lease: agents_pb2.Lease) -> None:
        """Forgets a lease without a word."""
        self.leases = [each for each in self.leases if each.lease != lease]

    def end(self, lease: agents_pb2.Lease, result: agents_pb2.LeaseResult) -> None:
        """Says at the next call how a lease ended."""
        self.drop(lease)
        self.leases.append(agents_pb2.LeaseStatus(lease=lease, result=result))

    def fail(
        self, lease: agents_pb2.Lease, status: Any, owner: benchmarks_pb2.FailureOwner.ValueType
    ) -> None:
        """Says at the next call that a lease ended with an error."""
        self.end(lease, agents_pb2.LeaseResult(error=status, failure_owner=owner))

    async def fetch(self, lease: agents_pb2.Lease, digest: str, offset_bytes: int = 0) -> bytes:
        """Reads a file of an assignment."""
        request = agents_pb2.FetchFileRequest(lease=lease, digest=digest, offset_bytes=offset_bytes)
        answers = self._stub.FetchFile(request, metadata=self._metadata)
        return b"".join([answer.data async for answer in answers])

    async def upload(self, lease: agents_pb2.Lease, role: str, data: bytes) -> str:
        """Sends a result file and gives its digest."""
        digest = digest_bytes(data)

        async def messages() -> AsyncIterator[agents_pb2.UploadResultRequest]:
            header = agents_pb2.ResultHeader(
                lease=lease, role=role, digest=digest, size_bytes=len(data)
            )
            yield agents_pb2.UploadResultRequest(header=header)
            for start in range(0, len(data), 1 << 20):
                yield agents_pb2.UploadResultRequest(data=data[start : start + (1 << 20)])

        answer = await self._stub.UploadResult(messages(), metadata=self._metadata)
        return str(answer.digest)
