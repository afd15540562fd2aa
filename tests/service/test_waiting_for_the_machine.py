"""A wait for the machine-wide lock is told, by a child that was started ahead, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from pathlib import Path

from edgeconv.bench.lock import exclusive_lock
from edgeconv.client.aio import AsyncClient
from edgeconv.results.wire import enum_word
from edgeconv.server.app import ServerSettings
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.jobs.children import Children
from edgeconv.server.jobs.job_child import Bundle, StepOrder
from edgeconv.server.records import files_digest
from edgeconv.testing.running_server import running_server
from edgeconv.testing.tiny_files import write_dense_onnx

LIMIT_S = 240.0


def _say_nothing(fraction: float, words: str) -> None:
    pass


@asynccontextmanager
async def _held(lock: AbstractContextManager[None]) -> AsyncIterator[ExitStack]:
    """A lock that is held; closing what is given lets it go."""
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, lock)
        yield stack


def test_an_inspection_says_what_it_waits_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = ServerSettings(tmp_path / "state")
        model = write_dense_onnx(tmp_path / "dense.onnx")
        async with (
            running_server(settings) as endpoint,
            await AsyncClient.connect(endpoint.address, endpoint.token) as client,
            _held(exclusive_lock(_say_nothing)) as lock,
        ):
            told: list[str] = []

            def tell(words: str) -> None:
                told.append(words)
                lock.close()

            made = await client.create_model_version("models/dense", [model])
            ready = await client.wait_model_version(made.name, activity=tell)
            assert enum_word(ready, "state") == "ready"
            assert told[0] == "waiting for a measurement on this machine to end"
            assert len(told) == len(set(told))

    asyncio.run(asyncio.wait_for(scenario(), LIMIT_S))


def test_who_waits_for_a_child_that_loads_its_libraries_is_told_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        blobs = Blobs.local(tmp_path / "blobs")
        children = Children(tmp_path / "scratch", blobs)
        with write_dense_onnx(tmp_path / "dense.onnx").open("rb") as stream:
            file = blobs.put_file(stream, "dense.onnx", max_bytes=10**6)
        bundle = Bundle((file,), files_digest((file,)), {})
        told: list[str] = []
        async with _held(exclusive_lock(_say_nothing)) as lock:

            def tell(fraction: float, words: str) -> None:
                told.append(words)
                if "waiting for" in words:
                    lock.close()

            child = await children.take("model")
            child.warm()
            order = StepOrder("inspect", "inspect", {}, 0, {"source": bundle})
            await child.run(order, tell)
        assert "waiting for a measurement on this machine to end" in told
        # Once the wait is over it is not shown any more.
        assert told.index("loading libraries") > told.index(
            "waiting for a measurement on this machine to end"
        )
        assert "waiting" not in told[-1]
        await children.end(child)
        await children.close()

    asyncio.run(asyncio.wait_for(scenario(), LIMIT_S))
