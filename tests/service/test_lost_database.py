"""A PostgreSQL that goes away under a server, while jobs run and clients call."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from google.rpc import error_details_pb2, status_pb2

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import StateFolder, read_endpoint
from edgeconv.client.aio import AsyncClient
from edgeconv.client.patience import Patience
from edgeconv.server.store.connections import TimeLimits
from edgeconv.testing.postgresql import Cluster
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import conversions_pb2, models_pb2, models_pb2_grpc

PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from edgeconv.sandbox.walls import Room
from edgeconv.server.app import ServerSettings, serve
from edgeconv.testing.quick_steps import ENTRY
async def main(folder, name, database, dead_s):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = ServerSettings(
        folder / name, database=database, blobs=folder / "blobs", executor_dead_s=float(dead_s),
        sweep_s=0.2, poll_s=0.1, child_entry=ENTRY, child_room=Room(writes=(folder,)),
    )
    await serve(settings, ready=lambda endpoint: print(endpoint.address, flush=True), stop=stop)
asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
"""
TWO = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}, fp16: {precision: fp16}}"
LIMITS = TimeLimits(connect_s=2, lock_s=2, statement_s=4, again_s=0.5, answer_s=5)
DEAD_S = 3.0
BOUND_S = LIMITS.answer_s + 5


@asynccontextmanager
async def _service(folder: Path, database: str) -> AsyncIterator[QuickService]:
    async with quick_service(
        folder, database=database, blobs=folder / "blobs", time_limits=LIMITS, sweep_s=0.2,
        executor_dead_s=DEAD_S, patience=Patience(limit_s=0.0),
    ) as service:  # fmt: skip
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


@asynccontextmanager
async def _process(
    folder: Path, name: str, database: str
) -> AsyncIterator[tuple[Process, QuickService]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, folder, name, database, str(DEAD_S), stdout=PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline()
        endpoint = read_endpoint(folder / name)
        assert endpoint is not None
        async with await AsyncClient.connect(
            endpoint.address, endpoint.token, patience=Patience(limit_s=0.0)
        ) as client:
            yield process, QuickService(folder, endpoint, client, None)  # type: ignore[arg-type]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def test_servers_do_not_take_each_other_for_dead_because_the_database_was_gone(
    tmp_path: Path, cluster: Cluster
) -> None:
    gate, database = tmp_path / "gate", cluster.new_database()

    async def scenario() -> None:
        async with (
            _process(tmp_path, "a", database) as (first, service),
            _process(tmp_path, "b", database) as (second, other),
        ):
            model = await service.model(gates={"fp16": str(gate)})
            made = await service.client.create_conversion(model, recipe=TWO)
            await _until_running(service, "fp16")
            cluster.stop()
            try:
                began = time.monotonic()
                # To both of them all have been silent for longer than the dead are.
                while time.monotonic() - began < 2 * DEAD_S:
                    await _unavailable(other.client.get_conversion(made.name))
            finally:
                cluster.start()
            beats = set()
            async with asyncio.timeout(30):
                while len(beats) < 5:
                    rows = cluster.tell("SELECT * FROM executors", sa.make_url(database).database)
                    assert len(rows) == 2
                    beats.update(rows)
                    await asyncio.sleep(0.05)
            gate.touch()
            async with asyncio.timeout(60):
                async for _ in other.client.watch_conversion(made.name):
                    pass
            ended = await other.client.get_conversion(made.name)
            assert ended.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED
            assert service.journal == [
                "inspect", "reference", "direct", "verify", "fp16", "verify",
            ]  # fmt: skip
            assert (first.returncode, second.returncode) == (None, None)

    asyncio.run(scenario())


def test_an_embedded_database_that_another_process_has_locked_is_waited_for(
    tmp_path: Path,
) -> None:
    gate = tmp_path / "gate"

    async def scenario() -> None:
        limits = TimeLimits(lock_s=0.3, again_s=0.2, answer_s=3)
        async with quick_service(
            tmp_path, time_limits=limits, sweep_s=0.1, patience=Patience(limit_s=0.0)
        ) as service:
            model = await service.model(gates={"fp16": str(gate)})
            made = await service.client.create_conversion(model, recipe=TWO)
            await _until_running(service, "fp16")
            path = StateFolder(tmp_path / "state").database
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                gate.touch()
                # The sweep waits, too: calls must not stand behind it.
                for _ in range(3):
                    await _unavailable(service.client.get_conversion(made.name))
            async with asyncio.timeout(60):
                while True:
                    with suppress(EdgeconvError):
                        ended = await service.client.get_conversion(made.name)
                        if ended.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED:
                            break
                    await asyncio.sleep(0.05)
            assert service.journal.count("fp16") == 1

    asyncio.run(scenario())
