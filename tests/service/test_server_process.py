"""A server as a process of its own: killed, started again, found, and what it has loaded."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import StateFolder, read_endpoint
from edgeconv.client.aio import AsyncClient
from edgeconv.results.status import from_status
from edgeconv.sandbox.limits import GIB, Limits
from edgeconv.server.app import ServerSettings
from edgeconv.testing.quick_steps import ENTRY
from edgeconv.testing.running_server import QuickService, quick_service, running_server
from edgeconv.testing.tiny_files import write_dense_onnx
from edgeconv.v1 import conversions_pb2, models_pb2

PROGRAM = """
import asyncio, signal, sys
from pathlib import Path
from edgeconv.sandbox.walls import Room
from edgeconv.server.app import ServerSettings, serve
async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    state = Path(sys.argv[1])
    # Quick steps keep a journal beside the state folder, and look for gates there.
    room = Room(writes=(state.parent,))
    settings = ServerSettings(state, child_entry=sys.argv[2], child_room=room)
    await serve(settings, ready=lambda endpoint: print(endpoint.address, flush=True), stop=stop)
asyncio.run(main())
"""
REAL_STEPS = "edgeconv.conversion.job_child:main"
ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
TWO = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}, fp16: {precision: fp16}}"
NEVER = re.compile(
    r"/(torch|torchao|litert_torch|ai_edge_litert|ai_edge_quantizer|onnx|onnxruntime|onnxscript"
    r"|jax|jaxlib)(\.libs)?/"
)


@asynccontextmanager
async def _server(state: Path, entry: str = ENTRY) -> AsyncIterator[tuple[Process, AsyncClient]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(state), entry, stdout=PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline()
        endpoint = read_endpoint(state)
        assert endpoint is not None
        async with await AsyncClient.connect(endpoint.address, endpoint.token) as client:
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _quick(folder: Path, client: AsyncClient) -> QuickService:
    return QuickService(folder, None, client, None)  # type: ignore[arg-type]


async def _until_running(service: QuickService, step: str) -> int:
    path = service.folder / "journal"
    async with asyncio.timeout(30):
        while step not in service.journal:
            await asyncio.sleep(0.01)
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{step} "))
    return int(line.split()[1])


async def _until_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.01)


def test_a_conversion_survives_kill_9_of_its_server(tmp_path: Path) -> None:
    gate, state = tmp_path / "gate", tmp_path / "state"

    async def scenario() -> None:
        async with _server(state) as (process, client):
            service = _quick(tmp_path, client)
            model = await service.model(gates={"fp16": str(gate)})
            made = await client.create_conversion(model, recipe=TWO)
            child = await _until_running(service, "fp16")
            process.send_signal(signal.SIGKILL)
            await process.wait()
            await _until_gone(child)
        assert read_endpoint(state) is None
        assert list(StateFolder(state).scratch.iterdir())
        ran = service.journal
        gate.touch()
        async with _server(state) as (_, client):
            events = [event async for event in client.watch_conversion(made.name) if event.sequence]
            ended = await client.get_conversion(made.name)
            assert ended.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        # What was done is not done again; what was interrupted is.
        assert service.journal == [*ran, "fp16", "verify"]
        assert service.journal.count("reference") == 1

    asyncio.run(scenario())


def test_an_inspection_survives_kill_9_of_its_server(tmp_path: Path) -> None:
    gate, state = tmp_path / "gate", tmp_path / "state"

    async def scenario() -> None:
        async with _server(state) as (process, client):
            service = _quick(tmp_path, client)
            name = await service.send_model(gates={"inspect": str(gate)})
            await _until_running(service, "inspect")
            process.send_signal(signal.SIGKILL)
            await process.wait()
        gate.touch()
        async with _server(state) as (_, client):
            version = await client.wait_model_version(name)
            assert version.state == models_pb2.INSPECTION_STATE_READY

    asyncio.run(scenario())


def test_a_dataset_and_its_model_that_were_both_being_read_are_taken_up(tmp_path: Path) -> None:
    gate, state = tmp_path / "gate", tmp_path / "state"

    async def scenario() -> None:
        async with _server(state) as (process, client):
            service = _quick(tmp_path, client)
            model = await service.send_model(gates={"inspect": str(gate)})
            datasets = [await service.dataset(d, model=model, x=("float32", [8, 4])) for d in "ab"]
            await _until_running(service, "inspect")
            process.send_signal(signal.SIGKILL)
            await process.wait()
        gate.touch()
        async with _server(state) as (_, client), asyncio.timeout(30):
            for dataset in datasets:
                assert (await client.wait_dataset(dataset)).samples == 8

    asyncio.run(scenario())


def test_a_server_that_is_asked_to_stop_ends_its_children_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _server(tmp_path / "state") as (process, client):
            service = _quick(tmp_path, client)
            model = await service.model(steps={"reference": "hang"})
            made = await client.create_conversion(model, recipe=ONE)
            child = await _until_running(service, "reference")
            process.terminate()
            async with asyncio.timeout(10):
                assert await process.wait() == 0
            assert not Path(f"/proc/{child}").exists()
        assert not StateFolder(tmp_path / "state").endpoint.exists()
        assert list(StateFolder(tmp_path / "state").scratch.iterdir()) == []
        async with _server(tmp_path / "state") as (_, client):
            # It was not cancelled: it goes on.
            again = await client.get_conversion(made.name)
            assert again.state in (
                conversions_pb2.CONVERSION_STATE_QUEUED,
                conversions_pb2.CONVERSION_STATE_CONVERTING,
            )

    asyncio.run(scenario())


def test_a_second_server_on_a_state_folder_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = ServerSettings(tmp_path / "state")
        async with running_server(settings) as endpoint:
            with pytest.raises(EdgeconvError) as caught:
                async with running_server(settings):
                    pass
            assert caught.value.reason is Reason.STATE_LOCKED
            assert read_endpoint(tmp_path / "state") == endpoint
        with pytest.raises(EdgeconvError) as caught:
            async with running_server(ServerSettings(tmp_path / "other", listen="127.0.0.1:x")):
                pass
        assert caught.value.reason is Reason.FIELD_INVALID

    asyncio.run(scenario())


def test_health_and_reflection_answer(tmp_path: Path) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    async def scenario() -> None:
        async with quick_service(tmp_path) as service:
            health = health_pb2_grpc.HealthStub(service.channel)
            answer = await health.Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="")

            async def ask(metadata: Any) -> list[str]:
                call = stub.ServerReflectionInfo(iter([request]), metadata=metadata)
                async for answer in call:
                    return [each.name for each in answer.list_services_response.service]
                return []

            services = await ask(service.metadata)
            for noun in ("File", "Model", "Dataset", "Conversion", "Benchmark", "Device", "Agent"):
                assert f"edgeconv.v1.{noun}Service" in services
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(())
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED

    asyncio.run(scenario())


def test_a_fault_of_the_server_tells_nothing_but_a_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> EdgeconvError:
        async with quick_service(tmp_path) as service:
            model = await service.model()
            # What no code of ours does: the table is gone.
            import sqlite3

            with sqlite3.connect(tmp_path / "state" / "edgeconv.db") as connection:
                connection.execute("DROP TABLE model_versions")
            with pytest.raises(EdgeconvError) as caught:
                await service.client.get_model_version(model)
            return caught.value

    error = asyncio.run(scenario())
    assert error.reason is Reason.INTERNAL
    assert "Traceback" not in error.message
    assert "model_versions" not in error.message
    incident = error.metadata["incident"]
    assert incident in error.message
    assert any(incident in record.getMessage() and record.exc_info for record in caplog.records)


def test_a_real_model_goes_through_and_the_server_loads_no_library_of_models(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with _server(tmp_path / "state", REAL_STEPS) as (process, client):
            path = write_dense_onnx(tmp_path / "dense.onnx")
            version = await client.create_model_version("models/dense", [path])
            version = await client.wait_model_version(version.name)
            assert version.inspection.inputs[0].name == "in/put:0"
            made = await client.create_conversion(version.name, recipe=ONE)
            async for _ in client.watch_conversion(made.name):
                pass
            ended = await client.get_conversion(made.name)
            assert ended.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED, ended
            (variant,) = ended.variants
            assert variant.agreement.outputs[0].snr_db > 60
            got = await client.download(
                f"{made.name}/variants/{variant.name}", variant.files[0], tmp_path / "got.onnx"
            )
            assert got.stat().st_size == variant.size_bytes
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            assert not [line for line in maps.splitlines() if NEVER.search(line)]
            assert re.search(r"/(grpc|obstore)/", maps), "the maps are those of the server"

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", ["truncated", "empty graph"])
def test_a_real_model_that_is_damaged_is_rejected(tmp_path: Path, damage: str) -> None:
    async def scenario() -> None:
        async with running_server(ServerSettings(tmp_path / "state")) as endpoint:
            client = await AsyncClient.connect(endpoint.address, endpoint.token)
            async with client:
                path = write_dense_onnx(tmp_path / "dense.onnx")
                data = path.read_bytes()
                path.write_bytes(data[: len(data) // 2] if damage == "truncated" else b"\x08\x0a")
                version = await client.create_model_version("models/dense", [path])
                with pytest.raises(EdgeconvError) as caught:
                    await client.wait_model_version(version.name)
                assert caught.value.reason is Reason.MODEL_UNREADABLE
                with pytest.raises(EdgeconvError) as caught:
                    await client.create_conversion(version.name)
                assert caught.value.reason is Reason.NOT_READY

    asyncio.run(scenario())


def test_a_child_that_cannot_even_start_rejects_the_model(tmp_path: Path) -> None:
    async def scenario() -> None:
        limits = Limits(address_space_bytes=GIB // 4)
        settings = ServerSettings(tmp_path / "state", child_limits=limits)
        async with (
            running_server(settings) as endpoint,
            await AsyncClient.connect(endpoint.address, endpoint.token) as client,
        ):
            path = write_dense_onnx(tmp_path / "dense.onnx")
            version = await client.create_model_version("models/dense", [path])
            with pytest.raises(EdgeconvError) as caught:
                await client.wait_model_version(version.name)
            assert caught.value.reason is Reason.CHILD_DIED
            rejected = await client.get_model_version(version.name)
            assert from_status(rejected.error).reason is caught.value.reason

    asyncio.run(scenario())
