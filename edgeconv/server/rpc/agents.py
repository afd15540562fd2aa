"""AgentService: what agents call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from google.protobuf import json_format

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import parse_name
from edgeconv.base.quantities import NS_PER_S
from edgeconv.results.status import from_status, to_status
from edgeconv.server.blobs.blobs import MAX_PART_BYTES
from edgeconv.server.changes import QUEUE
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.measured import MAX_RESULT_BYTES, LeaseOutcome, take_outcome
from edgeconv.server.records import BenchmarkRecord, DeviceState, FailureOwner, FileRecord
from edgeconv.server.rpc import messages
from edgeconv.server.rpc.fields import check_digest, refuse
from edgeconv.server.rpc.incoming import fast_enough, read_data, read_header
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.server.store.agents import AgentDevice, HeldLease, Word
from edgeconv.server.store.fleet import Answer
from edgeconv.v1 import agents_pb2, agents_pb2_grpc, benchmarks_pb2, devices_pb2

MAX_WAIT_S = 20.0
_NEXT_CALL_S = 10.0
_NEXT_CALL_WITH_LEASE_S = 1.0
_ROLES = ("record", "outputs")


class AgentService(agents_pb2_grpc.AgentServiceServicer):
    """As the wire says."""

    def __init__(self, tools: ServiceTools) -> None:
        self._tools = tools

    async def Synchronize(
        self, request: agents_pb2.SynchronizeRequest, context: Any
    ) -> agents_pb2.SynchronizeResponse:
        """Takes an agent's word; answers at once when there is something to say."""
        acknowledged = await self._take_outcomes(request)
        word = _word(request, acknowledged)
        refused = await self._tools.store.fleet.hear(word)
        await self._say_progress(request)
        asked_s = request.wait.ToNanoseconds() / NS_PER_S
        # It must be heard again before it counts as lost, or its lease expires.
        patience_ns = self._tools.lease_ns if word.leases else self._tools.silence_ns
        longest_s = min(MAX_WAIT_S, patience_ns / NS_PER_S / 3)
        deadline_ns = self._tools.clock.monotonic_ns() + int(min(asked_s, longest_s) * NS_PER_S)
        with self._tools.changes.watching(QUEUE, *(device.name for device in request.devices)) as w:
            while True:
                w.clear()
                answer = await self._tools.store.fleet.answer(word)
                if answer.assigned:
                    reached(CrashPoint.BENCHMARK_LEASED)
                left_ns = deadline_ns - self._tools.clock.monotonic_ns()
                news = answer.assigned or answer.revoked or acknowledged or word.leaving
                if news or left_ns <= 0:
                    return self._response(answer, acknowledged, refused, bool(word.leases))
                await w.wait(left_ns / NS_PER_S)

    async def FetchFile(
        self, request: agents_pb2.FetchFileRequest, context: Any
    ) -> AsyncIterator[agents_pb2.FetchFileResponse]:
        """Reads a file of an assignment."""
        record = await self._leased(request.lease, "lease")
        files = [*record.files, *([record.samples] if record.samples else [])]
        file = next((each for each in files if each.digest == request.digest), None)
        if file is None:
            raise EdgeconvError(
                Reason.NOT_FOUND, f"{record.name!r} needs no file {request.digest}.",
                digest=request.digest,
            )  # fmt: skip
        if not 0 <= request.offset_bytes <= file.size_bytes:
            raise refuse("offset_bytes", f"is not within 0 to {file.size_bytes}")
        async for chunk in self._tools.blobs.read(file, request.offset_bytes):
            yield agents_pb2.FetchFileResponse(data=chunk)

    async def UploadResult(
        self, request_iterator: AsyncIterator[agents_pb2.UploadResultRequest], context: Any
    ) -> agents_pb2.UploadResultResponse:
        """Stores a result file under a live lease."""
        incoming = aiter(request_iterator)
        header: agents_pb2.ResultHeader = await read_header(incoming)
        if header.role not in _ROLES:
            raise refuse("header.role", f"{header.role!r} is not one of {', '.join(_ROLES)}")
        check_digest(header.digest, "header.digest")
        if not 1 <= header.size_bytes <= MAX_RESULT_BYTES:
            raise refuse("header.size_bytes", f"is not within 1 to {MAX_RESULT_BYTES} (256 MiB)")
        record = await self._leased(header.lease, "header.lease")
        await asyncio.to_thread(self._tools.blobs.check_room, header.size_bytes)
        prompt = fast_enough(incoming, self._tools.gates.limits)
        async with self._tools.gates.room_for(min(header.size_bytes, MAX_PART_BYTES)):
            file = await self._tools.blobs.put_stream(
                header.role, header.digest, header.size_bytes, read_data(prompt)
            )
        reached(CrashPoint.RESULT_STORED)
        await self._leased(header.lease, "header.lease")
        await self._tools.store.fleet.add_file(record.id, header.lease.token, file)
        reached(CrashPoint.RESULT_KNOWN)
        return agents_pb2.UploadResultResponse(digest=file.digest)

    async def _leased(self, lease: agents_pb2.Lease, field: str) -> BenchmarkRecord:
        (benchmark,) = parse_name(lease.benchmark, "benchmarks/*", field=f"{field}.benchmark")
        return await self._tools.store.fleet.check_lease(benchmark, lease.token)

    async def _take_outcomes(
        self, request: agents_pb2.SynchronizeRequest
    ) -> list[agents_pb2.Lease]:
        """Takes results; a lease that was lost counts as taken, so that it is forgotten."""
        taken = []
        for each in request.leases:
            if not each.HasField("result"):
                continue
            (benchmark,) = parse_name(each.lease.benchmark, "benchmarks/*", field="leases.lease")
            outcome = _outcome(each.result)
            await take_outcome(
                self._tools.store, self._tools.blobs, benchmark, each.lease.token, outcome
            )
            reached(CrashPoint.OUTCOME_TAKEN)
            taken.append(each.lease)
        return taken

    async def _say_progress(self, request: agents_pb2.SynchronizeRequest) -> None:
        for each in request.leases:
            if each.HasField("result"):
                continue
            (benchmark,) = parse_name(each.lease.benchmark, "benchmarks/*", field="leases.lease")
            record = await self._tools.store.fleet.benchmark(benchmark)
            if record is not None and record.token == each.lease.token:
                self._tools.progress.say(
                    f"conversions/{record.conversion}", record.name, each.fraction, each.message
                )

    def _response(
        self,
        answer: Answer,
        acknowledged: list[agents_pb2.Lease],
        refused: Mapping[str, EdgeconvError],
        holds: bool,
    ) -> agents_pb2.SynchronizeResponse:
        busy = holds or answer.assigned
        next_call_s = _NEXT_CALL_WITH_LEASE_S if busy else _NEXT_CALL_S
        return agents_pb2.SynchronizeResponse(
            assignments=[self._assignment(record) for record in answer.assigned],
            revoked=[
                agents_pb2.Lease(benchmark=f"benchmarks/{benchmark}", token=token)
                for benchmark, token in answer.revoked
            ],
            acknowledged=acknowledged,
            next_call=messages.duration(int(next_call_s * NS_PER_S)),
            draining_devices=answer.draining,
            refused_devices=[
                agents_pb2.RefusedDevice(device=device, error=to_status(error))
                for device, error in refused.items()
            ],
        )

    def _assignment(self, record: BenchmarkRecord) -> agents_pb2.Assignment:
        files = [_assigned("artifact", file) for file in record.files]
        if record.samples is not None:
            files.append(_assigned("samples", record.samples))
        return agents_pb2.Assignment(
            lease=agents_pb2.Lease(benchmark=record.name, token=record.token),
            lease_duration=messages.duration(self._tools.lease_ns),
            device=record.device,
            format=record.format,
            files=files,
            request=messages.benchmark_request(record.request),
            title=record.title,
        )


def _assigned(role: str, file: FileRecord) -> agents_pb2.AssignedFile:
    return agents_pb2.AssignedFile(
        role=role, name=file.name, digest=file.digest, size_bytes=file.size_bytes
    )


def _word(request: agents_pb2.SynchronizeRequest, ended: list[agents_pb2.Lease]) -> Word:
    gone = {(lease.benchmark, lease.token) for lease in ended}
    leases = []
    for each in request.leases:
        (benchmark,) = parse_name(each.lease.benchmark, "benchmarks/*", field="leases.lease")
        if (each.lease.benchmark, each.lease.token) not in gone:
            # A newer agent may know states that this server does not.
            state = _STATES.get(each.device_state, "preparing")
            leases.append(HeldLease(benchmark, each.lease.token, state, each.message))
    devices = []
    for place, device in enumerate(request.devices):
        (name,) = parse_name(device.name, "devices/*", field=f"devices[{place}].name")
        capabilities = json_format.MessageToDict(
            device.capabilities, preserving_proto_field_name=True
        )
        devices.append(AgentDevice(name, capabilities, dict(device.labels)))
    return Word(
        agent=request.agent,
        incarnation=request.incarnation,
        version=request.version,
        devices=tuple(devices),
        leases=tuple(leases),
        leaving=request.leaving,
        place=request.place,
    )


_STATES: Mapping[int, DeviceState] = {
    devices_pb2.DEVICE_STATE_IDLE: "idle",
    devices_pb2.DEVICE_STATE_PREPARING: "preparing",
    devices_pb2.DEVICE_STATE_BUSY: "busy",
    devices_pb2.DEVICE_STATE_COOLING: "cooling",
}


def _outcome(result: agents_pb2.LeaseResult) -> LeaseOutcome:
    owner: FailureOwner = "infrastructure"
    if result.failure_owner == benchmarks_pb2.FAILURE_OWNER_MODEL:
        owner = "model"
    elif result.failure_owner == benchmarks_pb2.FAILURE_OWNER_DEVICE:
        owner = "device"
    error = from_status(result.error) if result.HasField("error") else None
    return LeaseOutcome(result.record_digest, result.outputs_digest, error, owner)
