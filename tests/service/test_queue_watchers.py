"""Many who watch queued conversions cost one look at the queues a second, not one each."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from edgeconv.server.engine.bounded import BoundedEngine
from edgeconv.server.engine.lines import Lines
from edgeconv.testing.running_server import QuickService, quick_service

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
WATCHERS = 20


async def _until_told(service: QuickService, name: str, kind: str) -> None:
    """Watches until something of that kind was told."""
    events = service.client.watch_conversion(name)
    async for event in events:
        if event.WhichOneof("kind") == kind:
            break
    await events.aclose()


def test_one_look_at_the_queues_serves_all_who_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    real = BoundedEngine.lines

    async def counted(engine: BoundedEngine) -> Lines:
        looks.append(time.monotonic())
        return await real(engine)

    monkeypatch.setattr(BoundedEngine, "lines", counted)
    gate = tmp_path / "gate"

    async def scenario() -> None:
        async with quick_service(tmp_path, jobs_at_once=1) as service:
            slow = await service.model(gates={"reference": str(gate)})
            create = service.client.create_conversion
            runs, waits = [(await create(slow, recipe=ONE)).name for _ in range(2)]
            began_s = time.monotonic()
            async with asyncio.timeout(60):
                await asyncio.gather(
                    *(_until_told(service, runs, "step_changed") for _ in range(WATCHERS)),
                    *(_until_told(service, waits, "progress") for _ in range(WATCHERS)),
                )
            # One at the start, one a second, and one that was under way at the end.
            assert len(looks) <= time.monotonic() - began_s + 2
            gate.touch()

    asyncio.run(scenario())
