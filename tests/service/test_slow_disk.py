"""A disk that does not answer holds up who needs it, and nobody else."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.testing.running_server import QuickService, quick_service

Scenario = Callable[[QuickService], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            async with quick_service(tmp_path) as service, asyncio.timeout(60):
                await scenario(service)

        asyncio.run(whole())

    return run


def test_a_read_that_hangs_holds_up_no_other_call(
    play: Callable[[Scenario], None], tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        version = await service.client.get_model_version(model)
        name = version.files[0].digest.removeprefix("sha256:")
        blob = tmp_path / "state" / "blobs" / "sha256" / name[:2] / name
        blob.unlink()
        # To open it takes until somebody writes to it.
        os.mkfifo(blob)
        reading = asyncio.create_task(
            service.client.download(model, version.files[0], tmp_path / "got")
        )
        for _ in range(5):
            await service.client.list_model_versions()
            await service.model()
        assert not reading.done()
        writer = await asyncio.to_thread(os.open, blob, os.O_WRONLY)
        os.close(writer)
        with pytest.raises(EdgeconvError) as caught:
            await reading
        assert caught.value.reason is Reason.BLOB_DAMAGED

    play(scenario)


def test_a_database_that_hangs_stalls_no_event_loop(
    play: Callable[[Scenario], None], tmp_path: Path
) -> None:
    async def scenario(service: QuickService) -> None:
        path = service.folder / "model.json"
        path.write_text("{}")
        health = health_pb2_grpc.HealthStub(service.channel)
        other = sqlite3.connect(tmp_path / "state" / "edgeconv.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        try:
            upload = asyncio.create_task(service.client.upload([path]))
            done, _ = await asyncio.wait([upload], timeout=1)
            assert not done
            # The server runs in this event loop; were it stalled, none of this would be reached.
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        finally:
            other.execute("COMMIT")
            other.close()
        assert (await upload)[0].size_bytes == 2

    play(scenario)
