"""A real agent process that measures a real file: what it loads, and how it ends."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

from edgeconv.base.digests import digest_file
from edgeconv.bench import record
from edgeconv.testing.agent_server import AgentServer
from edgeconv.testing.tiny_files import write_dense_onnx
from edgeconv.v1 import agents_pb2

PROGRAM = """
import asyncio, sys
from pathlib import Path
from edgeconv.agent.run import run_until_signalled
from edgeconv.agent.settings import AgentSettings
settings = AgentSettings(server=sys.argv[1], state=Path(sys.argv[2]), device="here")
asyncio.run(run_until_signalled(settings, lambda sentence: print(sentence, flush=True)))
"""
HEAVY = re.compile(
    r"/(numpy|scipy|torch|torchao|litert_torch|ai_edge_litert|ai_edge_quantizer|onnx|onnxruntime"
    r"|onnxscript|jax|jaxlib|sqlalchemy|tflite_runtime)(\.libs)?/"
)


async def start_agent(address: str, state: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, address, str(state), stdout=PIPE
    )


def assign(server: AgentServer, model: Path) -> None:
    digest = digest_file(model)
    server.files[digest] = model.read_bytes()
    assignment = agents_pb2.Assignment(
        lease=agents_pb2.Lease(benchmark="benchmarks/b1", token=1),
        device="devices/here",
        format="onnx",
        files=[
            agents_pb2.AssignedFile(
                role="artifact", name=model.name, digest=digest, size_bytes=model.stat().st_size
            )
        ],
    )
    assignment.lease_duration.FromSeconds(30)
    server.assigned.append(assignment)


def mapped_files(pid: int) -> set[str]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if line.count("/")}


def test_an_agent_that_measured_has_loaded_no_runtime_and_leaves_on_sigterm(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        server = AgentServer()
        async with server.listening() as address:
            assign(server, write_dense_onnx(tmp_path / "net.onnx"))
            agent = await start_agent(address, tmp_path / "agent")
            try:
                await server.until(lambda: server.results, limit_s=60)
                files = mapped_files(agent.pid)
            finally:
                agent.send_signal(signal.SIGTERM)
                status = await asyncio.wait_for(agent.wait(), 20)
        assert any("/grpc/" in path for path in files)
        assert sorted(path for path in files if HEAVY.search(path)) == []
        assert status == 0
        assert server.words[-1].leaving
        result = server.results[1]
        assert not result.HasField("error")
        measured = record.decode(server.uploads[result.record_digest])
        assert len(measured["blocks"]) == 3
        (device,) = server.words[0].devices
        assert device.capabilities.runtimes["onnxruntime"]

    asyncio.run(main())


def test_a_killed_agent_takes_its_measurement_with_it(tmp_path: Path) -> None:
    async def main() -> None:
        server = AgentServer()
        async with server.listening() as address:
            assign(server, write_dense_onnx(tmp_path / "net.onnx"))
            server.assigned[0].request.effort = "thorough"
            agent = await start_agent(address, tmp_path / "agent")
            await server.until(
                lambda: (
                    server.words
                    and server.words[-1].leases
                    and server.words[-1].leases[0].fraction > 0
                ),
                limit_s=60,
            )
            (child,) = children_of(agent.pid)
            watch = await asyncio.create_subprocess_exec(
                "tail", f"--pid={child}", "-f", "/dev/null"
            )
            agent.kill()
            await agent.wait()
            await asyncio.wait_for(watch.wait(), 20)

    asyncio.run(main())


def children_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(word) for word in (task / "children").read_text().split()]
    return found
