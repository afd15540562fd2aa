"""Client, server and agents together: a benchmark outlives an agent and a server.

One story in one test, because a conversion child takes seconds to start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgeconv.agent.drivers.driver import Driver
from edgeconv.agent.drivers.local import LocalDriver
from edgeconv.agent.run import run_agent
from edgeconv.agent.settings import AgentSettings
from edgeconv.base.digests import digest_file
from edgeconv.base.state_folder import Endpoint
from edgeconv.bench import record
from edgeconv.client.aio import AsyncClient
from edgeconv.results.wire import job_result
from edgeconv.server.app import ServerSettings
from edgeconv.testing.fake_device import FakeDevice, Script
from edgeconv.testing.running_server import running_server
from edgeconv.testing.tiny_files import write_dense_onnx
from edgeconv.v1 import benchmarks_pb2, conversions_pb2, devices_pb2

RECIPE = "version: 1\ntargets: [onnx]\nvariants:\n  fp32: {}\n"
LIMIT_S = 120.0
LEASE_S = 2.0
Seen = TypeVar("Seen")


def server_on(state: Path, listen: str = "127.0.0.1:0") -> AbstractAsyncContextManager[Endpoint]:
    settings = ServerSettings(state, listen=listen, lease_s=LEASE_S, silence_s=LEASE_S, sweep_s=0.2)
    return running_server(settings)


@asynccontextmanager
async def running_agent(
    endpoint: Endpoint, state: Path, driver: Driver, *, leaves: bool = True
) -> AsyncIterator[None]:
    """An agent; one that does not leave vanishes as if it had been killed."""
    stop = asyncio.Event()
    settings = AgentSettings(endpoint.address, state, token=endpoint.token, labels={"room": "lab"})
    agent = asyncio.create_task(run_agent(settings, stop, print, drivers=[driver]))
    try:
        yield
    finally:
        stop.set() if leaves else agent.cancel()
        await asyncio.wait({agent})


async def until(look: Callable[[], Awaitable[Seen]], holds: Callable[[Seen], object]) -> Seen:
    """What was seen when the condition held; looked at every 50 ms."""
    async with asyncio.timeout(LIMIT_S):
        while not holds(seen := await look()):
            await asyncio.sleep(0.05)
    return seen


def test_a_benchmark_outlives_an_agent_and_a_server(tmp_path: Path) -> None:
    asyncio.run(asyncio.wait_for(story(tmp_path), LIMIT_S * 2))


async def story(tmp_path: Path) -> None:
    watched: list[conversions_pb2.ConversionEvent] = []
    async with server_on(tmp_path / "state") as endpoint:
        client = await AsyncClient.connect(endpoint.address, endpoint.token)
        async with running_agent(endpoint, tmp_path / "agent-0", FakeDevice("devices/a", [])):
            await until(client.list_devices, len)
        job = await start_job(client, tmp_path)
        watching = asyncio.create_task(watch(client, job, watched))
        (waiting,) = await until(
            lambda: client.list_benchmarks(job), lambda found: found and found[0].waiting_reason
        )
        assert waiting.state == benchmarks_pb2.BENCHMARK_STATE_QUEUED
        await lose_an_agent(client, endpoint, tmp_path, waiting.name)
    async with server_on(tmp_path / "state", endpoint.address) as again:
        assert again == endpoint
        here = LocalDriver("devices/b", lock_folder=tmp_path)
        async with running_agent(again, tmp_path / "agent-b", here):
            await asyncio.wait_for(watching, LIMIT_S)
            await check_result(client, job, tmp_path, watched)
            await check_drain(client)
        await until(lambda: client.get_device("devices/b"), is_offline)
        await client.close()


async def start_job(client: AsyncClient, tmp_path: Path) -> str:
    model, data = write_dense_onnx(tmp_path / "net.onnx"), tmp_path / "data.npz"
    np.savez(data, **{"in/put:0": np.random.default_rng(0).random((16, 1, 64), np.float32)})
    version = await client.create_model_version("models/net", [model])
    dataset = await client.create_dataset("datasets/digits", data, version.name)
    version = await client.wait_model_version(version.name)
    await client.wait_dataset(dataset.name)
    job = await client.create_conversion(
        version.name,
        recipe=RECIPE,
        datasets={"evaluation": dataset.name},
        device_selector="room=lab",
        benchmark=benchmarks_pb2.BenchmarkRequest(effort="quick", threads=1),
    )
    return job.name


async def watch(
    client: AsyncClient, job: str, watched: list[conversions_pb2.ConversionEvent]
) -> None:
    watched.extend([event async for event in client.watch_conversion(job)])


async def lose_an_agent(
    client: AsyncClient, endpoint: Endpoint, tmp_path: Path, benchmark: str
) -> None:
    device = FakeDevice("devices/a", [Script(hangs=True)])
    async with running_agent(endpoint, tmp_path / "agent-a", device, leaves=False):
        await asyncio.wait_for(device.began.wait(), LIMIT_S)
        busy = await until(
            lambda: client.get_device("devices/a"),
            lambda seen: seen.state == devices_pb2.DEVICE_STATE_BUSY,
        )
        assert busy.benchmark == benchmark
        # Heartbeats keep a lease for longer than it lives without them.
        await until(
            lambda: client.get_device("devices/a"),
            lambda seen: seen.last_seen_time.seconds > busy.last_seen_time.seconds + 2 * LEASE_S,
        )
        held = await client.get_benchmark(benchmark)
        assert (held.state, held.attempts) == (benchmarks_pb2.BENCHMARK_STATE_LEASED, 1)
    back = await until(
        lambda: client.get_benchmark(benchmark),
        lambda seen: seen.state == benchmarks_pb2.BENCHMARK_STATE_QUEUED,
    )
    assert back.attempts == 1
    await until(lambda: client.get_device("devices/a"), is_offline)


def is_offline(device: devices_pb2.Device) -> bool:
    return device.state == devices_pb2.DEVICE_STATE_OFFLINE


async def check_result(
    client: AsyncClient,
    job: str,
    tmp_path: Path,
    watched: list[conversions_pb2.ConversionEvent],
) -> None:
    durable = [event.sequence for event in watched if event.sequence]
    assert durable == list(range(1, len(durable) + 1))
    assert watched[-1].state_changed.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED
    result = job_result(await client.get_conversion(job))
    (variant,) = result.variants
    (benchmark,) = variant.benchmarks
    assert (benchmark.state, benchmark.device, benchmark.attempts) == ("succeeded", "devices/b", 2)
    assert benchmark.summary is not None
    assert benchmark.summary.processes == 3
    assert benchmark.summary.device_argmax_agreement == 1.0
    raw = record.decode(await client.get_benchmark_record(benchmark.name))
    assert raw["request"]["threads"] == 1
    (file,) = (await client.get_conversion(job)).variants[0].files
    path = await client.download(f"{job}/variants/{variant.name}", file, tmp_path / "got.onnx")
    assert digest_file(path) == variant.files[0].digest


async def check_drain(client: AsyncClient) -> None:
    drained = await client.drain_device("devices/b", "repairs")
    assert (drained.state, drained.reason) == (devices_pb2.DEVICE_STATE_DRAINING, "repairs")
    resumed = await client.resume_device("devices/b")
    assert resumed.state == devices_pb2.DEVICE_STATE_IDLE
    assert [device.name for device in await client.list_devices()] == ["devices/a", "devices/b"]
