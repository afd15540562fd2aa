"""The agent's word and the server's, as messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from edgeconv.agent import loop
from edgeconv.agent.loop import AgentState, Held, Stage, advance
from edgeconv.agent.messages import Identity, KnownDevice, to_answered, to_request
from edgeconv.agent.work import AssignedFile, Assignment, Failure, Lease, Result
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.failure import FailureOwner
from edgeconv.catalog.capabilities import Capabilities
from edgeconv.results.status import from_status
from edgeconv.testing.fake_device import FAKE_CAPABILITIES
from edgeconv.v1 import agents_pb2, benchmarks_pb2, devices_pb2

ME = Identity("agent-1", "start-1", "0.1.0", "place-1")
LEASE = Lease("benchmarks/b", 7)
WORK = Assignment(LEASE, 30_000_000_000, "devices/d", "onnx", ())


def request_of(*held: Held, leaving: bool = False) -> agents_pb2.SynchronizeRequest:
    state = AgentState(held=held, leaving=leaving)
    device = KnownDevice("devices/d", FAKE_CAPABILITIES, {"room": "lab"})
    return to_request(state, ME, [device], wait_ns=1_500_000_000)


def test_every_call_carries_the_whole_state() -> None:
    request = request_of(Held(WORK, 0, message="fetching files", fraction=-1))
    assert (request.agent, request.incarnation, request.version) == ("agent-1", "start-1", "0.1.0")
    assert request.place == "place-1"
    assert request.wait == Duration(seconds=1, nanos=500_000_000)
    (status,) = request.leases
    assert status.lease == agents_pb2.Lease(benchmark="benchmarks/b", token=7)
    assert (status.message, status.fraction) == ("fetching files", -1)
    assert not status.HasField("result")
    assert not request.leaving
    assert request_of(leaving=True).leaving


def test_a_device_is_told_whole() -> None:
    (device,) = request_of().devices
    assert device.name == "devices/d"
    assert device.labels == {"room": "lab"}
    for field in Capabilities.__dataclass_fields__:
        assert getattr(device.capabilities, field) == getattr(FAKE_CAPABILITIES, field), field
    assert set(devices_pb2.DeviceCapabilities.DESCRIPTOR.fields_by_name) == set(
        Capabilities.__dataclass_fields__
    )


@pytest.mark.parametrize("stage", Stage)
def test_a_stage_says_where_the_device_stands(stage: Stage) -> None:
    expected = {
        Stage.FETCHING: devices_pb2.DEVICE_STATE_PREPARING,
        Stage.READY: devices_pb2.DEVICE_STATE_PREPARING,
        Stage.MEASURING: devices_pb2.DEVICE_STATE_BUSY,
    }.get(stage, devices_pb2.DEVICE_STATE_IDLE)
    (status,) = request_of(Held(WORK, 0, stage=stage)).leases
    assert status.device_state == expected


@pytest.mark.parametrize("owner", FailureOwner)
def test_a_failure_is_told_with_its_reason_and_owner(owner: FailureOwner) -> None:
    error = EdgeconvError(Reason.RUNTIME_REFUSED, "It can't load.", fix="Look at it.", file="a")
    held = Held(WORK, 0, stage=Stage.REPORTING, result=Result(failure=Failure(error, owner)))
    (status,) = request_of(held).leases
    assert from_status(status.result.error).to_json() == error.to_json()
    name = benchmarks_pb2.FailureOwner.Name(status.result.failure_owner)
    assert name == f"FAILURE_OWNER_{owner.name}"
    assert status.result.record_digest == ""


def test_a_result_is_told_by_its_digests() -> None:
    held = Held(WORK, 0, stage=Stage.REPORTING, result=Result("sha256:r", "sha256:o"))
    (status,) = request_of(held).leases
    result = status.result
    assert (result.record_digest, result.outputs_digest) == ("sha256:r", "sha256:o")
    assert not result.HasField("error")


def assigned(**changes: object) -> agents_pb2.Assignment:
    return agents_pb2.Assignment(
        lease=agents_pb2.Lease(benchmark="benchmarks/b", token=7),
        lease_duration=Duration(seconds=30),
        device="devices/d",
        format="onnx",
        **changes,  # type: ignore[arg-type]
    )


def test_an_assignment_is_taken_whole() -> None:
    message = assigned(
        title="fp32.onnx of models/m/versions/1",
        files=[agents_pb2.AssignedFile(role="artifact", name="a", digest="sha256:a", size_bytes=3)],
        request=benchmarks_pb2.BenchmarkRequest(effort="thorough", threads=3, spinning=True),
    )
    response = agents_pb2.SynchronizeResponse(assignments=[message])
    (taken,) = to_answered(request_of(), response, 5).assignments
    assert taken == Assignment(
        LEASE,
        30_000_000_000,
        "devices/d",
        "onnx",
        (AssignedFile("artifact", "a", "sha256:a", 3),),
        effort="thorough",
        threads=3,
        spinning=True,
        title="fp32.onnx of models/m/versions/1",
    )


def test_an_effort_that_is_not_named_is_quick() -> None:
    response = agents_pb2.SynchronizeResponse(assignments=[assigned()])
    (taken,) = to_answered(request_of(), response, 5).assignments
    assert taken.effort == "quick"


def test_an_answer_knows_what_its_call_named() -> None:
    request = request_of(Held(WORK, 0), leaving=True)
    lease = agents_pb2.Lease(benchmark="benchmarks/x", token=1)
    response = agents_pb2.SynchronizeResponse(
        revoked=[lease], acknowledged=[lease], draining_devices=["devices/d"]
    )
    answered = to_answered(request, response, asked_ns=5)
    assert answered.asked_ns == 5
    assert answered.named == {LEASE}
    assert answered.said_leaving
    assert answered.revoked == answered.acknowledged == {Lease("benchmarks/x", 1)}
    assert answered.draining == {"devices/d"}


def test_what_the_loop_says_after_each_event_is_what_goes_over_the_wire(tmp_path: Path) -> None:
    state, _ = advance(AgentState(), loop.Answered(0, assignments=(WORK,)))
    messages = []
    for event in (
        loop.Fetched(LEASE),
        loop.Progressed(LEASE, 0.25, "measuring: steady (1 of 3)"),
        loop.Failed(LEASE, Failure(EdgeconvError(Reason.INTERNAL, "x"), FailureOwner.DEVICE)),
    ):
        state, _ = advance(state, event)
        (status,) = to_request(state, ME, [], 0).leases
        messages.append((status.message, status.fraction, status.HasField("result")))
    assert messages == [
        ("measuring", -1.0, False),
        ("measuring: steady (1 of 3)", 0.25, False),
        ("ended", -1.0, True),
    ]
