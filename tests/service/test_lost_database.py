"""A PostgreSQL that goes away under a server, while jobs run and clients call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.store.connections import TimeLimits
from edgeconv.testing.postgresql import Cluster
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import conversions_pb2, models_pb2, models_pb2_grpc

TWO = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}, fp16: {precision: fp16}}"
LIMITS = TimeLimits(connect_s=2, lock_s=2, statement_s=4, again_s=0.5, answer_s=5)
BOUND_S = LIMITS.answer_s + 5


@asynccontextmanager
async def _service(folder: Path, database: str) -> AsyncIterator[QuickService]:
    async with quick_service(
        folder, database=database, blobs=folder / "blobs", time_limits=LIMITS, sweep_s=0.2
    ) as service:
        yield service


async def _unavailable(call: Awaitable[Any]) -> None:
    began = time.monotonic()
    with pytest.raises(EdgeconvError) as caught:
        await call
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert time.monotonic() - began < BOUND_S


async def _until_running(service: QuickService, step: str) -> None:
    async with asyncio.timeout(30):
        while step not in service.journal:
            await asyncio.sleep(0.01)


def test_jobs_go_on_when_the_database_comes_back_and_nothing_is_done_twice(
    tmp_path: Path, cluster: Cluster
) -> None:
    gate = tmp_path / "gate"

    async def scenario() -> None:
        async with _service(tmp_path, cluster.new_database()) as service:
            model = await service.model(gates={"fp16": str(gate)})
            made = await service.client.create_conversion(model, recipe=TWO)
            await _until_running(service, "fp16")
            cluster.stop()
            try:
                # The step ends while its end can't be written down.
                gate.touch()
                await _unavailable(service.client.get_conversion(made.name))
                await _unavailable(service.client.create_conversion(model, recipe=TWO))
            finally:
                cluster.start()
            async with asyncio.timeout(60):
                while True:
                    ended = await service.client.get_conversion(made.name)
                    if ended.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED:
                        break
                    await asyncio.sleep(0.05)
            assert service.journal == [
                "inspect", "reference", "direct", "verify", "fp16", "verify",
            ]  # fmt: skip
            assert all(variant.files for variant in ended.variants)
            events = [event async for event in service.client.watch_conversion(made.name)]
            numbers = [event.sequence for event in events if event.sequence]
            assert numbers == list(range(1, len(numbers) + 1))
            # What came meanwhile was refused, and what comes now is done.
            again, _ = await service.convert(model, TWO)
            assert again.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED

    asyncio.run(scenario())


def test_a_call_is_told_when_to_come_again(tmp_path: Path, cluster: Cluster) -> None:
    async def scenario() -> None:
        async with _service(tmp_path, cluster.new_database()) as service:
            cluster.stop()
            try:
                stub = models_pb2_grpc.ModelServiceStub(service.channel)
                request = models_pb2.GetModelVersionRequest(name="models/m/versions/1")
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await stub.GetModelVersion(request, metadata=service.metadata)
            finally:
                cluster.start()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        details = dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]
        assert isinstance(details, bytes)
        status = status_pb2.Status.FromString(details)
        retry = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(retry) for detail in status.details)
        assert retry.retry_delay.seconds > 0
        # Not a word of where the database is.
        assert str(cluster.folder) not in str(status)

    asyncio.run(scenario())


def test_a_server_ends_while_its_database_is_gone(tmp_path: Path, cluster: Cluster) -> None:
    gate = tmp_path / "gate"

    async def scenario() -> None:
        database = cluster.new_database()
        try:
            async with _service(tmp_path, database) as service:
                model = await service.model(gates={"fp16": str(gate)})
                made = await service.client.create_conversion(model, recipe=TWO)
                await _until_running(service, "fp16")
                cluster.stop()
                began = time.monotonic()
            assert time.monotonic() - began < 30
        finally:
            cluster.start()
        gate.touch()
        async with _service(tmp_path, database) as service, asyncio.timeout(60):
            async for _ in service.client.watch_conversion(made.name):
                pass
            ended = await service.client.get_conversion(made.name)
            assert ended.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED

    asyncio.run(scenario())
