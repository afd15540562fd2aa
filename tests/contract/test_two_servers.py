"""Two servers on one PostgreSQL: they share work, and one goes on with what the other left."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeconv.base.state_folder import StateFolder, read_endpoint
from edgeconv.client.aio import AsyncClient
from edgeconv.testing.quick_steps import ENTRY
from edgeconv.testing.running_server import QuickService
from edgeconv.v1 import conversions_pb2

PROGRAM = """
import asyncio, logging, signal, sys
from pathlib import Path
from edgeconv.sandbox.walls import Room
from edgeconv.server.app import ServerSettings, serve
from edgeconv.server.engine import dbos_engine
async def main():
    logging.basicConfig()
    dbos_engine.VERSION = int(sys.argv[4])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    state = Path(sys.argv[1])
    settings = ServerSettings(
        state, database=sys.argv[2], blobs=state.parent / "blobs",
        child_entry=sys.argv[3], child_room=Room(writes=(state.parent,)),
        executor_dead_s=2.0, sweep_s=0.2, poll_s=0.05,
    )
    await serve(settings, ready=lambda endpoint: print(endpoint.address, flush=True), stop=stop)
asyncio.run(main())
"""
LIMIT_S = 60.0
TWO = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}, fp16: {precision: fp16}}"

pytestmark = pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)


@dataclass(frozen=True)
class Server:
    """A server as a process of its own, and a client of it."""

    process: Process
    service: QuickService

    @property
    def client(self) -> AsyncClient:
        return self.service.client

    async def words(self) -> str:
        """What it has logged, to its end."""
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()


@asynccontextmanager
async def _server(folder: Path, name: str, url: str, version: int = 1) -> AsyncIterator[Server]:
    state = folder / name
    state.mkdir(mode=0o700)
    (folder / "blobs").mkdir(exist_ok=True)
    StateFolder(state).blobs.symlink_to(folder / "blobs")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(state), url, ENTRY, str(version)),
        stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert await process.stdout.readline(), (await process.communicate())[1].decode()
        endpoint = read_endpoint(state)
        assert endpoint is not None
        async with await AsyncClient.connect(endpoint.address, endpoint.token) as client:
            yield Server(process, QuickService(folder, endpoint, client, None))  # type: ignore[arg-type]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _until_ran(service: QuickService, step: str, times: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while service.journal.count(step) < times:
            await asyncio.sleep(0.01)


async def _ended(client: AsyncClient, name: str) -> conversions_pb2.Conversion:
    async with asyncio.timeout(LIMIT_S):
        events = [event async for event in client.watch_conversion(name) if event.sequence]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return await client.get_conversion(name)


def test_two_servers_share_work_and_one_takes_over_what_a_killed_one_left(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    gate, url = tmp_path / "gate", new_database()

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(_server(tmp_path, "first", url))
            second = await stack.enter_async_context(_server(tmp_path, "second", url))
            jobs = []
            for _ in range(2):
                model = await first.service.model(gates={"fp16": str(gate)})
                made = await first.client.create_conversion(model, recipe=TWO)
                jobs.append(made.name)
            # Each server does one conversion at a time, so each has one of them.
            await _until_ran(first.service, "fp16", 2)
            before = first.service.journal
            first.process.send_signal(signal.SIGKILL)
            await first.process.wait()
            gate.touch()
            for name in jobs:
                ended = await _ended(second.client, name)
                assert ended.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED
                steps = [step.id for step in ended.steps]
                assert len(steps) == len(set(steps))
            again = second.service.journal[len(before) :]
            assert second.service.journal.count("reference") == 2
            assert again.count("fp16") == 1

    asyncio.run(scenario())


def test_a_newer_version_goes_on_with_what_an_older_one_left(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    gate, url = tmp_path / "gate", new_database()

    async def scenario() -> None:
        jobs = []
        async with _server(tmp_path, "old", url, version=1) as old:
            for _ in range(2):
                model = await old.service.model(gates={"fp16": str(gate)})
                jobs.append((await old.client.create_conversion(model, recipe=TWO)).name)
            # One runs, and one waits in the queue of the older version.
            await _until_ran(old.service, "fp16", 1)
            old.process.send_signal(signal.SIGKILL)
            await old.process.wait()
        gate.touch()
        async with _server(tmp_path, "new", url, version=2) as new:
            for name in jobs:
                ended = await _ended(new.client, name)
                assert ended.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED
            # Finished steps are kept, one for each job; the interrupted one ran twice.
            assert new.service.journal.count("reference") == 2
            assert new.service.journal.count("fp16") == 3

    asyncio.run(scenario())


def test_a_server_that_was_stopped_past_its_time_ends_and_its_late_result_is_refused(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    gate, url = tmp_path / "gate", new_database()

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            first = await stack.enter_async_context(_server(tmp_path, "first", url))
            model = await first.service.model(gates={"fp16": str(gate)})
            made = await first.client.create_conversion(model, recipe=TWO)
            await _until_ran(first.service, "fp16", 1)
            second = await stack.enter_async_context(_server(tmp_path, "second", url))
            first.process.send_signal(signal.SIGSTOP)
            # The stopped one's child has its result now.
            gate.touch()
            ended = await _ended(second.client, made.name)
            assert ended.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED
            assert second.service.journal.count("fp16") == 2
            first.process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(LIMIT_S):
                assert await first.process.wait() not in (0, None)
            assert "took it for dead" in " ".join((await first.words()).split())
            assert await second.client.get_conversion(made.name) == ended

    asyncio.run(scenario())
