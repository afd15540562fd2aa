"""Benchmarks, devices and agents over real gRPC; the agent is led by hand."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from edgeconv.base.digests import digest_bytes
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.record import decode, encode
from edgeconv.client.rpc_errors import from_rpc_error
from edgeconv.results.status import from_status, to_status
from edgeconv.server.rpc.call_limits import CallLimits
from edgeconv.testing.benchmark_records import make_block, make_record
from edgeconv.testing.hand_agent import HandAgent
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import agents_pb2, agents_pb2_grpc, benchmarks_pb2, conversions_pb2, devices_pb2

Scenario = Callable[[QuickService], Coroutine[Any, Any, None]]
Play = Callable[[Scenario], None]

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
TWO = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}, fp16: {precision: fp16}}"


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            async with quick_service(tmp_path) as service:
                await scenario(service)

        asyncio.run(whole())

    return run


def _record(steady_ns: int = 1_000_000) -> bytes:
    blocks = [make_block([steady_ns + n % 5 for n in range(200)], process=n) for n in range(3)]
    return encode(make_record(*blocks))


async def _benchmarking(service: QuickService, recipe: str = ONE, selector: str = "any") -> str:
    """A conversion whose steps are done."""
    made = await service.client.create_conversion(
        await service.model(), recipe=recipe, device_selector=selector
    )
    async for event in service.client.watch_conversion(made.name):
        state = event.state_changed.state
        if state == conversions_pb2.CONVERSION_STATE_BENCHMARKING:
            return made.name
    raise AssertionError("it ended without a benchmark")


async def _deliver(agent: HandAgent, given: agents_pb2.Assignment, record: bytes) -> None:
    agent.hold(given)
    result = agents_pb2.LeaseResult(
        record_digest=await agent.upload(given.lease, "record", record),
        outputs_digest=await agent.upload(given.lease, "outputs", await _outputs(agent, given)),
    )
    agent.end(given.lease, result)
    answer = await agent.synchronize()
    assert list(answer.acknowledged) == [given.lease]


async def _outputs(
    agent: HandAgent, given: agents_pb2.Assignment, change: Callable[[Any], Any] = lambda y: y
) -> bytes:
    """What the quick model gives for the samples, changed."""
    samples = next(file for file in given.files if file.role == "samples")
    inputs = np.load(io.BytesIO(await agent.fetch(given.lease, samples.digest)))["x"]
    return _npz(y=change(inputs[:, :, :2] * 2))


def _npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


async def _error(call: Any) -> EdgeconvError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value, "server")


def test_a_benchmark_goes_the_whole_way(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion = await _benchmarking(service)
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        assert (given.device, given.format, given.request.effort) == ("devices/a", "onnx", "quick")
        files = {file.role: file for file in given.files}
        artifact = await agent.fetch(given.lease, files["artifact"].digest)
        assert digest_bytes(artifact) == files["artifact"].digest
        assert await agent.fetch(given.lease, files["artifact"].digest, 10) == artifact[10:]
        agent.hold(given, "measuring: steady")
        await agent.synchronize()
        device = await service.client.get_device("devices/a")
        assert (device.state, device.reason) == (
            devices_pb2.DEVICE_STATE_BUSY, "measuring: steady",
        )  # fmt: skip
        record = _record()
        outputs = await _outputs(agent, given)
        result = agents_pb2.LeaseResult(
            record_digest=await agent.upload(given.lease, "record", record),
            outputs_digest=await agent.upload(given.lease, "outputs", outputs),
        )
        agent.end(given.lease, result)
        assert list((await agent.synchronize()).acknowledged) == [given.lease]
        ended = await service.client.get_conversion(conversion)
        assert ended.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED
        (benchmark,) = ended.variants[0].benchmarks
        assert benchmark.state == benchmarks_pb2.BENCHMARK_STATE_SUCCEEDED
        assert benchmark.device == "devices/a"
        assert benchmark.summary.percentiles[0].value_ns == pytest.approx(1_000_002, abs=3)
        assert benchmark.summary.device_snr_db > 200
        assert benchmark.summary.device_argmax_agreement == 1
        raw = await service.client.get_benchmark_record(benchmark.name)
        assert decode(raw) == decode(record)
        device = await service.client.get_device("devices/a")
        assert (device.state, device.benchmark) == (devices_pb2.DEVICE_STATE_IDLE, "")

    play(scenario)


def test_what_got_slower_than_its_parent_is_said(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion = await _benchmarking(service, TWO)
        agent = service.agent()
        for steady_ns in (1_000_000, 2_000_000):
            (given,) = (await agent.synchronize()).assignments
            await _deliver(agent, given, _record(steady_ns))
        ended = await service.client.get_conversion(conversion)
        variants = {variant.name: variant for variant in ended.variants}
        (note,) = variants["fp16.onnx"].notes
        assert note.kind == "slower"
        assert "2.00 ×" in note.message
        assert not variants["fp32.onnx"].notes
        assert variants["fp32.onnx"].on_pareto_front

    play(scenario)


def test_outputs_that_differ_on_the_device_show(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion = await _benchmarking(service)
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        agent.hold(given)
        agent.end(
            given.lease,
            agents_pb2.LeaseResult(
                record_digest=await agent.upload(given.lease, "record", _record()),
                outputs_digest=await agent.upload(
                    given.lease, "outputs", await _outputs(agent, given, np.negative)
                ),
            ),
        )
        await agent.synchronize()
        ended = await service.client.get_conversion(conversion)
        summary = ended.variants[0].benchmarks[0].summary
        assert summary.device_snr_db < 0
        assert summary.device_argmax_agreement == 0
        (note,) = ended.variants[0].notes
        assert (note.kind, note.subject) == ("flagged", "devices/a")
        assert note.message == f"devices/a: {summary.device_doubts[0]}"
        assert "60 dB are asked for" in note.message
        assert not ended.variants[0].on_pareto_front

    play(scenario)


def test_a_device_is_held_to_what_the_variant_is_held_to(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion = await _benchmarking(service, TWO)
        agent = service.agent()
        for _ in range(2):
            (given,) = (await agent.synchronize()).assignments
            agent.hold(given)
            off = await _outputs(agent, given, lambda y: y * np.float32(1.003))
            result = agents_pb2.LeaseResult(
                record_digest=await agent.upload(given.lease, "record", _record()),
                outputs_digest=await agent.upload(given.lease, "outputs", off),
            )
            agent.end(given.lease, result)
            await agent.synchronize()
        ended = await service.client.get_conversion(conversion)
        doubts = {
            variant.name: list(variant.benchmarks[0].summary.device_doubts)
            for variant in ended.variants
        }
        assert doubts["fp16.onnx"] == []
        (words,) = doubts["fp32.onnx"]
        assert "60 dB are asked for" in words

    play(scenario)


@pytest.mark.parametrize(
    ("record", "outputs"),
    [
        (b"no JSON", None),
        (b"{}", None),
        (b'{"schema": 1, "kind": "edgeconv.benchmark", "blocks": "none"}', None),
        (_record(), b"no npz"),
        (_record(), _npz(other=np.zeros((1, 1, 2)))),
        (_record(), _npz(y=np.zeros((1, 9, 9)))),
        (_record(), _npz(y=np.zeros((99, 1, 2), np.float32))),
        (_record(), _npz(y=np.zeros((0, 1, 2), np.float32))),
        (_record(), _npz(y=np.full((4, 1, 2), np.nan, np.float32))),
        (_record(), _npz(y=np.array([{"pickled": 1}], dtype=object))),
    ],
)
def test_a_result_that_cannot_be_read_ends_the_attempt_only(
    play: Play, record: bytes, outputs: bytes | None
) -> None:
    async def scenario(service: QuickService) -> None:
        await _benchmarking(service)
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        agent.hold(given)
        result = agents_pb2.LeaseResult(
            record_digest=await agent.upload(given.lease, "record", record)
        )
        if outputs is not None:
            result.outputs_digest = await agent.upload(given.lease, "outputs", outputs)
        agent.end(given.lease, result)
        answer = await agent.synchronize()
        assert list(answer.acknowledged) == [given.lease]
        (again,) = answer.assignments
        assert again.lease.token > given.lease.token
        await _deliver(agent, again, _record())

    play(scenario)


def test_a_record_that_was_not_sent_is_none(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        await _benchmarking(service)
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        agent.end(given.lease, agents_pb2.LeaseResult(record_digest=digest_bytes(b"never")))
        (again,) = (await agent.synchronize()).assignments
        assert again.lease.token > given.lease.token

    play(scenario)


def test_the_models_own_failure_ends_the_benchmark(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion = await _benchmarking(service)
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        error = EdgeconvError(Reason.RUNTIME_REFUSED, "no such operator", fix="Use another.")
        agent.fail(given.lease, to_status(error), benchmarks_pb2.FAILURE_OWNER_MODEL)
        answer = await agent.synchronize()
        assert (list(answer.acknowledged), list(answer.assignments)) == ([given.lease], [])
        ended = await service.client.get_conversion(conversion)
        assert ended.state == conversions_pb2.CONVERSION_STATE_PARTLY_SUCCEEDED
        assert ended.variants[0].state == conversions_pb2.VARIANT_STATE_VERIFIED
        (benchmark,) = ended.variants[0].benchmarks
        assert benchmark.failure_owner == benchmarks_pb2.FAILURE_OWNER_MODEL
        assert from_status(benchmark.error).fix == "Use another."
        with pytest.raises(EdgeconvError) as caught:
            await service.client.get_benchmark_record(benchmark.name)
        assert caught.value.reason is Reason.NOT_READY

    play(scenario)


def test_a_failed_device_leaves_the_benchmark_to_another_one(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        await _benchmarking(service)
        bad, good = service.agent("bad"), service.agent("good", {"devices/b": {}})
        (given,) = (await bad.synchronize()).assignments
        assert list((await good.synchronize()).assignments) == []
        error = EdgeconvError(Reason.DEVICE_FAILED, "it fell off the table")
        bad.fail(given.lease, to_status(error), benchmarks_pb2.FAILURE_OWNER_DEVICE)
        assert list((await bad.synchronize()).assignments) == []
        (again,) = (await good.synchronize()).assignments
        assert again.lease.benchmark == given.lease.benchmark
        await _deliver(good, again, _record())

    play(scenario)


def test_a_lost_agents_benchmark_goes_back_to_the_queue(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, lease_s=3.0, silence_s=3.0, sweep_s=0.05) as service:
            conversion = await _benchmarking(service)
            lost, other = service.agent("lost"), service.agent("other", {"devices/b": {}})
            (given,) = (await lost.synchronize()).assignments
            lost.hold(given)
            given_to_other: list[agents_pb2.Assignment] = []
            async with asyncio.timeout(30):
                while not given_to_other:
                    given_to_other += (await other.synchronize(wait_s=20)).assignments
            (again,) = given_to_other
            assert again.lease.benchmark == given.lease.benchmark
            assert again.lease.token > given.lease.token
            # What comes late under the old lease is refused everywhere.
            artifact = given.files[0].digest
            for call in (
                lost.fetch(given.lease, artifact),
                lost.upload(given.lease, "record", _record()),
            ):
                assert (await _error(call)).reason is Reason.LEASE_LOST
            await _deliver(other, again, _record(5_000_000))
            answer = await lost.synchronize()
            assert list(answer.revoked) == [given.lease]
            ended = await service.client.get_conversion(conversion)
            (benchmark,) = ended.variants[0].benchmarks
            assert (benchmark.device, benchmark.attempts) == ("devices/b", 2)

    asyncio.run(scenario())


def test_heartbeats_keep_a_lease(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, lease_s=2.0, silence_s=2.0, sweep_s=0.05) as service:
            await _benchmarking(service)
            agent = service.agent()
            (given,) = (await agent.synchronize()).assignments
            assert given.lease_duration.ToMilliseconds() == 2000
            agent.hold(given)
            for _ in range(5):
                # The server answers before the lease could expire.
                answer = await agent.synchronize(wait_s=60)
                assert (list(answer.revoked), list(answer.assignments)) == ([], [])
            await _deliver(agent, given, _record())

    asyncio.run(scenario())


def test_work_that_comes_wakes_a_waiting_agent(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        agent = service.agent()
        waiting = asyncio.create_task(agent.synchronize(wait_s=20))
        await _benchmarking(service)
        async with asyncio.timeout(10):
            (given,) = (await waiting).assignments
        # An answer that was lost is given again, under the same lease.
        assert list((await agent.synchronize()).assignments) == [given]

    play(scenario)


def test_a_restarted_agent_gives_back_what_it_held(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        await _benchmarking(service)
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        agent.hold(given)
        agent.restart()
        (again,) = (await agent.synchronize()).assignments
        assert again.lease.token > given.lease.token
        assert (await _error(agent.fetch(given.lease, given.files[0].digest))).reason is (
            Reason.LEASE_LOST
        )

    play(scenario)


def test_a_copied_state_folder_on_another_machine_is_refused_and_takes_nothing(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        await _benchmarking(service)
        agent, copied = service.agent(), service.agent(place="elsewhere")
        (given,) = (await agent.synchronize()).assignments
        agent.hold(given)
        refused = await _error(copied.synchronize())
        assert refused.reason is Reason.ALREADY_EXISTS
        assert "'agent-1' is up elsewhere" in refused.message
        assert not (await agent.synchronize()).revoked
        assert (await service.client.get_device("devices/a")).benchmark == given.lease.benchmark

    play(scenario)


def test_an_agent_that_leaves_gives_back_and_takes_nothing(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion = await _benchmarking(service)
        agent = service.agent()
        await agent.synchronize()
        assert list((await agent.synchronize(leaving=True, wait_s=20)).assignments) == []
        ended = await service.client.get_conversion(conversion)
        (benchmark,) = ended.variants[0].benchmarks
        assert benchmark.state == benchmarks_pb2.BENCHMARK_STATE_QUEUED

    play(scenario)


def test_a_lease_gives_its_own_files_only(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        await _benchmarking(service, TWO)
        one, two = service.agent("one"), service.agent("two", {"devices/b": {}})
        (first,) = (await one.synchronize()).assignments
        (second,) = (await two.synchronize()).assignments
        other = second.files[0].digest
        assert other not in {file.digest for file in first.files}
        assert (await _error(one.fetch(first.lease, other))).reason is Reason.NOT_FOUND
        forged = agents_pb2.Lease(benchmark=first.lease.benchmark, token=99)
        assert (await _error(one.fetch(forged, first.files[0].digest))).reason is Reason.LEASE_LOST

    play(scenario)


@pytest.mark.parametrize(
    ("selector", "runs"),
    [
        ("any", True),
        ("devices/a", True),
        ("a", True),
        ("room=lab", True),
        ("kind=test,room=lab", True),
        ("devices/b", False),
        ("room=hall", False),
    ],
)
def test_a_selector_chooses(play: Play, selector: str, runs: bool) -> None:
    async def scenario(service: QuickService) -> None:
        agent = service.agent(devices={"devices/a": {"room": "lab"}})
        await agent.synchronize()
        others = {"devices/b": {"room": "hall"}}
        await service.agent("agent-2", others).synchronize()
        await _benchmarking(service, selector=selector)
        assert len((await agent.synchronize()).assignments) == runs

    play(scenario)


def test_a_device_without_the_runtime_gets_nothing_and_the_reason_shows(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, sweep_s=0.05) as service:
            agent = service.agent(runtimes=("litert",))
            await agent.synchronize()
            conversion = await _benchmarking(service)
            assert list((await agent.synchronize()).assignments) == []
            async for event in service.client.watch_conversion(conversion):
                if "ONNX Runtime" in event.benchmark_changed.message:
                    break
            ended = await service.client.get_conversion(conversion)
            assert "ONNX Runtime" in ended.variants[0].benchmarks[0].waiting_reason

    asyncio.run(scenario())


def test_a_benchmark_that_no_device_can_run_fails_in_the_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, sweep_s=0.05, no_device_s=0.2) as service:
            conversion = await _benchmarking(service)
            async for _ in service.client.watch_conversion(conversion):
                pass
            ended = await service.client.get_conversion(conversion)
            assert ended.state == conversions_pb2.CONVERSION_STATE_PARTLY_SUCCEEDED
            (benchmark,) = ended.variants[0].benchmarks
            assert from_status(benchmark.error).reason is Reason.NO_DEVICE

    asyncio.run(scenario())


def test_cancelling_a_conversion_revokes_its_leases(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion = await _benchmarking(service)
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        agent.hold(given)
        waiting = asyncio.create_task(agent.synchronize(wait_s=20))
        cancelled = await service.client.cancel_conversion(conversion)
        assert cancelled.state == conversions_pb2.CONVERSION_STATE_CANCELLED
        async with asyncio.timeout(8):
            assert list((await waiting).revoked) == [given.lease]
        assert (await _error(agent.upload(given.lease, "record", _record()))).reason is (
            Reason.LEASE_LOST
        )

    play(scenario)


def test_draining_and_resuming_a_device(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        agent = service.agent()
        await agent.synchronize()
        drained = await service.client.drain_device("devices/a", "new disk")
        assert (drained.state, drained.reason) == (devices_pb2.DEVICE_STATE_DRAINING, "new disk")
        await _benchmarking(service)
        answer = await agent.synchronize()
        assert (list(answer.assignments), list(answer.draining_devices)) == ([], ["devices/a"])
        waiting = asyncio.create_task(agent.synchronize(wait_s=20))
        await service.client.resume_device("devices/a")
        async with asyncio.timeout(10):
            assert len((await waiting).assignments) == 1
        listed = await service.client.list_devices()
        assert [device.name for device in listed] == ["devices/a"]
        for call in (
            service.client.get_device, service.client.drain_device,
            service.client.resume_device, service.client.delete_device,
        ):  # fmt: skip
            with pytest.raises(EdgeconvError) as caught:
                await call("devices/none")
            assert caught.value.reason is Reason.NOT_FOUND

    play(scenario)


def test_a_benchmark_can_be_asked_for_afterwards(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion, events = await service.convert(await service.model(), ONE)
        variant = f"{conversion.name}/variants/fp32.onnx"
        request = benchmarks_pb2.BenchmarkRequest(effort="standard", threads=2, priority=3)
        made = await service.client.create_benchmark(variant, "any", request, request_id="one")
        again = await service.client.create_benchmark(variant, "any", request, request_id="one")
        assert again.name == made.name
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        assert (given.request.effort, given.request.threads) == ("standard", 2)
        assert {file.role for file in given.files} == {"artifact", "samples"}
        await _deliver(agent, given, _record())
        ended = await service.client.get_benchmark(made.name)
        assert ended.state == benchmarks_pb2.BENCHMARK_STATE_SUCCEEDED
        # The conversion had ended: its events stay as they were.
        after = await service.client.get_conversion(conversion.name)
        assert after.sequence == events[-1].sequence
        assert [each.name for each in after.variants[0].benchmarks] == [made.name]
        listed = await service.client.list_benchmarks(conversion.name)
        assert [each.name for each in listed] == [made.name]
        other = await service.client.create_benchmark(variant, "devices/a")
        cancelled = await service.client.cancel_benchmark(other.name)
        assert cancelled.state == benchmarks_pb2.BENCHMARK_STATE_CANCELLED
        for bad in (f"{conversion.name}/variants/none", "conversions/none/variants/fp32.onnx"):
            with pytest.raises(EdgeconvError) as caught:
                await service.client.create_benchmark(bad, "any")
            assert caught.value.reason is Reason.NOT_FOUND

    play(scenario)


def test_a_higher_priority_is_served_first(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        conversion, _ = await service.convert(await service.model(), TWO)
        names = []
        for priority in (0, 5, 1):
            request = benchmarks_pb2.BenchmarkRequest(priority=priority)
            made = await service.client.create_benchmark(
                f"{conversion.name}/variants/fp32.onnx", "any", request
            )
            names.append(made.name)
        agent = service.agent()
        served = []
        for _ in names:
            (given,) = (await agent.synchronize()).assignments
            served.append(given.lease.benchmark)
            await _deliver_and_hold_back(agent, given)
        assert served == [names[1], names[2], names[0]]

    play(scenario)


async def _deliver_and_hold_back(agent: HandAgent, given: agents_pb2.Assignment) -> None:
    digest = await agent.upload(given.lease, "record", _record())
    agent.end(given.lease, agents_pb2.LeaseResult(record_digest=digest))
    # The answer brings the next assignment, which the next call brings again.
    await agent.synchronize()


@pytest.mark.parametrize(
    ("request_message", "field"),
    [
        (agents_pb2.SynchronizeRequest(incarnation="1"), "agent"),
        (agents_pb2.SynchronizeRequest(agent="a"), "incarnation"),
        (
            agents_pb2.SynchronizeRequest(
                agent="a", incarnation="1", devices=[agents_pb2.AgentDevice(name="a/b")]
            ),
            "devices[0].name",
        ),
        (
            agents_pb2.SynchronizeRequest(
                agent="a", incarnation="1", devices=[agents_pb2.AgentDevice()]
            ),
            "devices[0].name",
        ),
    ],
)
def test_an_agents_word_is_checked(
    play: Play, request_message: agents_pb2.SynchronizeRequest, field: str
) -> None:
    async def scenario(service: QuickService) -> None:
        stub = agents_pb2_grpc.AgentServiceStub(service.channel)
        error = await _error(stub.Synchronize(request_message, metadata=service.metadata))
        assert error.reason is Reason.FIELD_INVALID
        assert error.violations[0].field == field

    play(scenario)


def test_a_result_that_is_too_large_or_of_no_role_is_refused(play: Play) -> None:
    async def scenario(service: QuickService) -> None:
        await _benchmarking(service)
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        assert (await _error(agent.upload(given.lease, "virus", b"x"))).violations[0].field == (
            "header.role"
        )

        async def messages() -> Any:
            yield agents_pb2.UploadResultRequest(
                header=agents_pb2.ResultHeader(
                    lease=given.lease, role="record", digest=digest_bytes(b"x"),
                    size_bytes=257 * 1024 * 1024,
                )
            )  # fmt: skip

        stub = agents_pb2_grpc.AgentServiceStub(service.channel)
        error = await _error(stub.UploadResult(messages(), metadata=service.metadata))
        assert error.violations[0].field == "header.size_bytes"

    play(scenario)


def test_a_result_that_brings_too_little_holds_no_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        limits = CallLimits(upload_rate=64 * 1024, upload_window_s=0.5)
        async with quick_service(tmp_path, limits=limits) as service:
            await _benchmarking(service)
            (given,) = (await service.agent().synchronize()).assignments

            async def drip() -> AsyncIterator[agents_pb2.UploadResultRequest]:
                header = agents_pb2.ResultHeader(
                    lease=given.lease, role="record", digest=digest_bytes(b"x"), size_bytes=1 << 20
                )
                yield agents_pb2.UploadResultRequest(header=header)
                while True:
                    yield agents_pb2.UploadResultRequest(data=bytes(100))
                    await asyncio.sleep(0.01)

            stub = agents_pb2_grpc.AgentServiceStub(service.channel)
            async with asyncio.timeout(60):
                error = await _error(stub.UploadResult(drip(), metadata=service.metadata))
            assert error.reason is Reason.TIME_EXCEEDED
            assert error.metadata["limit"] == "upload_rate"

    asyncio.run(scenario())


@pytest.mark.parametrize("ends", ["requeued", "cancelled"])
def test_the_progress_of_a_benchmark_goes_with_its_lease(play: Play, ends: str) -> None:
    async def told(service: QuickService, name: str) -> list[str]:
        """Messages of the progress that a watch begins with."""
        messages = []
        async for event in service.client.watch_conversion(name):
            if event.WhichOneof("kind") == "progress":
                messages.append(event.progress.message)
            elif event.sequence == 1:
                # The watch began before; its first look gives all the progress there is.
                await service.client.cancel_conversion(name)
        return messages

    async def scenario(service: QuickService) -> None:
        # The second one keeps the conversion open.
        name = await _benchmarking(service, TWO)
        agent = service.agent()
        (given,) = (await agent.synchronize()).assignments
        agent.hold(given, "running the warm-up")
        await agent.synchronize()
        if ends == "requeued":
            fault = to_status(EdgeconvError(Reason.INTERNAL, "It broke."))
            agent.fail(given.lease, fault, benchmarks_pb2.FAILURE_OWNER_INFRASTRUCTURE)
            await agent.synchronize(leaving=True)
        else:
            await service.client.cancel_benchmark(given.lease.benchmark)
        assert await told(service, name) == []

    play(scenario)
