"""Records of agents that measured wrongly or lie: the attempt fails, the server does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeconv.bench.record import encode
from edgeconv.testing.benchmark_records import make_block, make_record
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import agents_pb2, benchmarks_pb2

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
Spoil = Callable[[dict[str, Any]], object]


def _phase(record: dict[str, Any], **changed: Any) -> None:
    for block in record["blocks"]:
        for phase in block["phases"]:
            phase.update(changed)


def _block(record: dict[str, Any], **changed: Any) -> None:
    for block in record["blocks"]:
        block.update(changed)


LIES: dict[str, Spoil] = {
    "times beyond any clock": lambda record: _phase(record, wall_ns=[10**30] * 50),
    "times just beyond the wire": lambda record: _phase(record, wall_ns=[2**63] * 50),
    "times before they began": lambda record: _phase(record, wall_ns=[-5] * 50),
    "no numbers": lambda record: _phase(record, wall_ns=["1"] * 50),
    "NaN": lambda record: _phase(record, wall_ns=[float("nan")] * 50),
    "infinity": lambda record: _phase(record, wall_ns=[float("inf")] * 50),
    "more memory than there is": lambda record: _phase(record, peak_bytes=10**30),
    "less processor time than none": lambda record: _phase(record, cpu_ns=[-1] * 50),
    "switches without end": lambda record: _phase(record, involuntary_switches=2**63),
    "parts without end": lambda record: _block(record, delegate_parts=2**31),
    "half a character": lambda record: _block(record, runtime="\ud800"),
    "no runtime": lambda record: _block(record, runtime=None),
    "no phases": lambda record: _block(record, phases=None),
    "states of nothing": lambda record: _block(record, states=[{}] * 3),
    "no blocks": lambda record: record.pop("blocks"),
    "blocks of nothing": lambda record: record.update(blocks=[None]),
    "another schema": lambda record: record.update(schema=99),
}
RAW = {
    "no JSON": b"\x00\xff",
    "a list": b"[]",
    "depth": b"[" * 100_000,
    "a number without end": b'{"kind": ' + b"9" * 10_000 + b"}",
}


def _lie(spoil: Spoil) -> bytes:
    record = json.loads(encode(make_record(*(make_block(process=n) for n in range(3)))))
    spoil(record)
    return json.dumps(record).encode()


async def _measured_with(service: QuickService, variant: str, record: bytes) -> Any:
    agent = service.agent()
    await service.client.create_benchmark(variant, "any")
    (given,) = (await agent.synchronize()).assignments
    agent.hold(given)
    sent = await agent.upload(given.lease, "record", record)
    # Else it would be given to the device again in the same breath.
    await service.client.drain_device("devices/a")
    agent.end(given.lease, agents_pb2.LeaseResult(record_digest=sent))
    assert list((await agent.synchronize()).acknowledged) == [given.lease]
    # Read in every way: what can't be put on the wire would be lost to all.
    benchmark = await service.client.get_benchmark(given.lease.benchmark)
    assert benchmark.name in [each.name for each in await service.client.list_benchmarks()]
    conversion = await service.client.get_conversion(variant.partition("/variants/")[0])
    assert benchmark.name in [each.name for each in conversion.variants[0].benchmarks]
    await service.client.cancel_benchmark(given.lease.benchmark)
    await service.client.resume_device("devices/a")
    return benchmark


def test_a_record_that_cannot_be_true_is_the_devices_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with quick_service(tmp_path) as service:
            conversion, _ = await service.convert(await service.model(), ONE)
            variant = f"{conversion.name}/variants/{conversion.variants[0].name}"
            honest = await _measured_with(service, variant, _lie(lambda record: None))
            assert honest.state == benchmarks_pb2.BENCHMARK_STATE_SUCCEEDED
            taken = []
            for name, record in {**{k: _lie(v) for k, v in LIES.items()}, **RAW}.items():
                benchmark = await _measured_with(service, variant, record)
                if benchmark.state != benchmarks_pb2.BENCHMARK_STATE_QUEUED:
                    taken.append(name)
                else:
                    # Why it waits may be told anew by a sweep: its device is held back.
                    assert benchmark.attempts == 1, name
            assert taken == []

    asyncio.run(main())
    assert not [each for each in caplog.records if "incident" in each.getMessage()]
