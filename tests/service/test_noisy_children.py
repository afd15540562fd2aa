"""Children that say what is no end, or more than anybody could follow: theirs is the fault, and
the server goes on answering others meanwhile."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from edgeconv.base.errors import Reason
from edgeconv.results.status import from_status
from edgeconv.results.wire import enum_word
from edgeconv.testing.running_server import QuickService, quick_service

TWO = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}, fp16: {precision: fp16}}"


async def _slowest_call(service: QuickService, until: asyncio.Task[object]) -> float:
    slowest = 0.0
    while not until.done():
        began = time.monotonic()
        await service.client.list_model_versions()
        slowest = max(slowest, time.monotonic() - began)
    return slowest


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("nonsense", "wall_ns is no count"),
        ("flood", "more messages"),
        ("long", "a message of more than"),
        ("many", "more than 100,000 values"),
    ],
)
def test_a_child_that_says_nonsense_or_too_much_is_ended_and_nobody_waits_for_it(
    tmp_path: Path, way: str, said: str
) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path) as service:
            model = await service.model(steps={"fp16": way})
            converting = asyncio.create_task(service.convert(model, TWO))
            assert await _slowest_call(service, converting) < 2
            conversion, _ = await converting
            states = {each.recipe_variant: enum_word(each, "state") for each in conversion.variants}
            assert states == {"fp32": "verified", "fp16": "failed"}
            [failed] = (each for each in conversion.variants if each.recipe_variant == "fp16")
            error = from_status(failed.error)
            assert error.reason is Reason.CHILD_DIED
            assert said in error.message
            assert "during step fp16" in error.message

    asyncio.run(scenario())


def test_a_model_that_leads_its_inspection_to_nonsense_is_refused_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path) as service:
            sent = await service.send_model(inspection={"format": "onnx"})
            version = None
            while version is None or enum_word(version, "state") == "inspecting":
                [version] = await service.client.list_model_versions()
            assert version.name == sent
            assert enum_word(version, "state") == "rejected"
            error = from_status(version.error)
            assert error.reason is Reason.CHILD_DIED
            assert "inputs" in error.message

    asyncio.run(scenario())
