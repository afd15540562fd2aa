"""A measurement that comes while its server is in trouble is not lost, nor the device's fault."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from edgeconv.base.errors import Reason
from edgeconv.bench.record import encode
from edgeconv.client.rpc_errors import from_rpc_error
from edgeconv.server.store.connections import TimeLimits
from edgeconv.testing.benchmark_records import make_block, make_record
from edgeconv.testing.hand_agent import HandAgent
from edgeconv.testing.postgresql import Cluster
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import agents_pb2, benchmarks_pb2

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
LIMITS = TimeLimits(connect_s=2, lock_s=1, statement_s=2, again_s=0.2, answer_s=2)


async def _measured(service: QuickService, agent: HandAgent) -> tuple[Any, Any]:
    """A benchmark whose record was sent, and its lease."""
    await agent.synchronize()
    ended, _ = await service.convert(await service.model(), ONE)
    made = await service.client.create_benchmark(f"{ended.name}/variants/fp32.onnx", "devices/a")
    (given,) = (await agent.synchronize()).assignments
    agent.hold(given)
    record = encode(make_record(*[make_block([10**6] * 200, process=n) for n in range(3)]))
    sent = await agent.upload(given.lease, "record", record)
    agent.end(given.lease, agents_pb2.LeaseResult(record_digest=sent))
    return made, given.lease


def test_a_result_that_a_slow_database_could_not_take_is_taken_later(
    tmp_path: Path, cluster: Cluster
) -> None:
    async def scenario() -> None:
        url = cluster.new_database()
        other = sa.create_engine(url)
        async with quick_service(
            tmp_path, database=url, blobs=tmp_path / "blobs", time_limits=LIMITS
        ) as service:
            agent = service.agent()
            made, lease = await _measured(service, agent)
            with other.connect() as holds:
                # What was measured is known; what to hold it against can't be read.
                holds.execute(sa.text("LOCK TABLE conversion_steps IN ACCESS EXCLUSIVE MODE"))
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await agent.synchronize()
            error = from_rpc_error(caught.value, "server")
            assert error.reason is Reason.DATABASE_UNAVAILABLE
            assert list((await agent.synchronize()).acknowledged) == [lease]
            benchmark = await service.client.get_benchmark(made.name)
            assert benchmark.state == benchmarks_pb2.BENCHMARK_STATE_SUCCEEDED
        other.dispose()

    asyncio.run(scenario())


def test_a_disk_that_can_not_be_read_is_not_the_devices_fault(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path) as service:
            agent = service.agent()
            made, lease = await _measured(service, agent)
            digest = agent.leases[0].result.record_digest.removeprefix("sha256:")
            (blob,) = (each for each in tmp_path.rglob(f"*{digest[4:]}*") if each.is_file())
            blob.unlink()
            # Reading it ends in ELOOP, as EIO would.
            blob.symlink_to(blob.name)
            await service.client.drain_device("devices/a")
            assert list((await agent.synchronize()).acknowledged) == [lease]
            benchmark = await service.client.get_benchmark(made.name)
            assert benchmark.state == benchmarks_pb2.BENCHMARK_STATE_QUEUED
            assert (
                benchmark.waiting_reason == "tried again: The server could not sum up the result."
            )

    asyncio.run(scenario())
