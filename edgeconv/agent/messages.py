"""The agent's data as messages of the wire, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgeconv.agent.loop import AgentState, Answered, Held, Stage
from edgeconv.agent.work import AssignedFile, Assignment, Lease, Result
from edgeconv.bench.failure import FailureOwner
from edgeconv.catalog.capabilities import Capabilities
from edgeconv.results.status import from_status, to_status
from edgeconv.v1 import agents_pb2, benchmarks_pb2, devices_pb2

_DEVICE_STATES = {
    Stage.FETCHING: devices_pb2.DEVICE_STATE_PREPARING,
    Stage.READY: devices_pb2.DEVICE_STATE_PREPARING,
    Stage.MEASURING: devices_pb2.DEVICE_STATE_BUSY,
    Stage.UPLOADING: devices_pb2.DEVICE_STATE_IDLE,
    Stage.REPORTING: devices_pb2.DEVICE_STATE_IDLE,
}
_OWNERS = {
    FailureOwner.MODEL: benchmarks_pb2.FAILURE_OWNER_MODEL,
    FailureOwner.DEVICE: benchmarks_pb2.FAILURE_OWNER_DEVICE,
    FailureOwner.INFRASTRUCTURE: benchmarks_pb2.FAILURE_OWNER_INFRASTRUCTURE,
}


@dataclass(frozen=True)
class Identity:
    """Who speaks: the agent's own id, this start of it, its version, and where it runs."""

    agent: str
    incarnation: str
    version: str
    place: str


@dataclass(frozen=True)
class KnownDevice:
    """A device as its driver described it, with its operator's labels."""

    name: str
    capabilities: Capabilities
    labels: Mapping[str, str]


def to_request(
    state: AgentState, identity: Identity, devices: Iterable[KnownDevice], wait_ns: int
) -> agents_pb2.SynchronizeRequest:
    """The agent's whole word."""
    request = agents_pb2.SynchronizeRequest(
        agent=identity.agent,
        place=identity.place,
        incarnation=identity.incarnation,
        version=identity.version,
        devices=[_device(each) for each in devices],
        leases=[_status(each) for each in state.held],
        leaving=state.leaving,
    )
    request.wait.FromNanoseconds(wait_ns)
    return request


def to_answered(
    request: agents_pb2.SynchronizeRequest,
    response: agents_pb2.SynchronizeResponse,
    asked_ns: int,
) -> Answered:
    """The server's word, as an answer to the agent's."""
    return Answered(
        asked_ns=asked_ns,
        named=_leases(status.lease for status in request.leases),
        said_leaving=request.leaving,
        assignments=tuple(_assignment(each) for each in response.assignments),
        revoked=_leases(response.revoked),
        acknowledged=_leases(response.acknowledged),
        draining=frozenset(response.draining_devices),
        refused=frozenset(
            (each.device, str(from_status(each.error))) for each in response.refused_devices
        ),
    )


def lease_message(lease: Lease) -> agents_pb2.Lease:
    """A lease as a message."""
    return agents_pb2.Lease(benchmark=lease.benchmark, token=lease.token)


def _leases(messages: Iterable[agents_pb2.Lease]) -> frozenset[Lease]:
    return frozenset(Lease(each.benchmark, each.token) for each in messages)


def _device(device: KnownDevice) -> agents_pb2.AgentDevice:
    able = device.capabilities
    return agents_pb2.AgentDevice(
        name=device.name,
        labels=dict(device.labels),
        capabilities=devices_pb2.DeviceCapabilities(
            runtimes=dict(able.runtimes),
            architecture=able.architecture,
            userland_32_bit=able.userland_32_bit,
            cpu=able.cpu,
            cores=able.cores,
            memory_bytes=able.memory_bytes,
            os=able.os,
            kind=able.kind,
        ),
    )


def _status(held: Held) -> agents_pb2.LeaseStatus:
    return agents_pb2.LeaseStatus(
        lease=lease_message(held.lease),
        # Words of a runtime; a server refuses what not every database keeps.
        message=held.message.replace("\0", "\\x00"),
        fraction=held.fraction,
        device_state=_DEVICE_STATES[held.stage],
        result=None if held.result is None else _result(held.result),
    )


def _result(result: Result) -> agents_pb2.LeaseResult:
    if result.failure is not None:
        return agents_pb2.LeaseResult(
            error=to_status(result.failure.error), failure_owner=_OWNERS[result.failure.owner]
        )
    return agents_pb2.LeaseResult(
        record_digest=result.record_digest, outputs_digest=result.outputs_digest
    )


def _assignment(message: agents_pb2.Assignment) -> Assignment:
    request = message.request
    return Assignment(
        lease=Lease(message.lease.benchmark, message.lease.token),
        lease_ns=message.lease_duration.ToNanoseconds(),
        device=message.device,
        format=message.format,
        files=tuple(
            AssignedFile(file.role, file.name, file.digest, file.size_bytes)
            for file in message.files
        ),
        effort=request.effort or "quick",
        threads=request.threads,
        spinning=request.spinning,
        title=message.title,
    )
