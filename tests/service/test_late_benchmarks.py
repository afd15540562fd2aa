"""A benchmark that is asked for when its conversion has ended is judged like those in it."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import numpy as np

from edgeconv.bench.record import encode
from edgeconv.testing.benchmark_records import make_block, make_record
from edgeconv.testing.hand_agent import HandAgent
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import agents_pb2, benchmarks_pb2, conversions_pb2

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"


def _record() -> bytes:
    return encode(make_record(*[make_block([10**6] * 200, process=n) for n in range(3)]))


async def _measured(
    service: QuickService, agent: HandAgent, variant: str, factor: float
) -> conversions_pb2.Conversion:
    """The conversion after one more benchmark, on a device that computes so many times what
    the quick model gives."""
    made = await service.client.create_benchmark(variant, "devices/a")
    (given,) = (await agent.synchronize()).assignments
    agent.hold(given)
    samples = next(file for file in given.files if file.role == "samples")
    inputs = np.load(io.BytesIO(await agent.fetch(given.lease, samples.digest)))["x"]
    outputs = io.BytesIO()
    np.savez(outputs, y=inputs[:, :, :2] * np.float32(2 * factor))
    result = agents_pb2.LeaseResult(
        record_digest=await agent.upload(given.lease, "record", _record()),
        outputs_digest=await agent.upload(given.lease, "outputs", outputs.getvalue()),
    )
    agent.end(given.lease, result)
    await agent.synchronize()
    benchmark = await service.client.get_benchmark(made.name)
    assert benchmark.state == benchmarks_pb2.BENCHMARK_STATE_SUCCEEDED
    return await service.client.get_conversion(variant.partition("/variants/")[0])


def test_what_a_device_computes_wrongly_later_is_said_of_the_variant(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path) as service:
            agent = service.agent()
            await agent.synchronize()
            ended, events = await service.convert(await service.model(), ONE)
            variant = f"{ended.name}/variants/fp32.onnx"
            assert ended.variants[0].on_pareto_front

            wrong = await _measured(service, agent, variant, -1)
            (note,) = wrong.variants[0].notes
            assert (note.kind, note.subject) == ("flagged", "devices/a")
            assert "something else" in note.message
            assert not wrong.variants[0].on_pareto_front
            # What has ended keeps its state, and its events their end.
            assert (wrong.state, wrong.end_time) == (ended.state, ended.end_time)
            assert wrong.sequence == events[-1].sequence

            right = await _measured(service, agent, variant, 1)
            assert not right.variants[0].notes
            assert len(right.variants[0].benchmarks) == 2

    asyncio.run(scenario())
