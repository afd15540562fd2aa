"""A selector that no registered device matches is refused at the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.testing.running_server import QuickService, quick_service

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"


def _play(
    folder: Path, scenario: Callable[[QuickService], Coroutine[Any, Any, None]], **settings: Any
) -> None:
    async def whole() -> None:
        async with quick_service(folder, **settings) as service:
            await scenario(service)

    asyncio.run(whole())


async def _refused(call: Coroutine[Any, Any, Any]) -> EdgeconvError:
    with pytest.raises(EdgeconvError) as caught:
        await call
    assert caught.value.reason is Reason.NO_DEVICE
    return caught.value


@pytest.mark.parametrize("selector", ["nosuch", "devices/nosuch", "room=attic"])
def test_what_no_registered_device_matches_is_refused_with_those_there_are(
    tmp_path: Path, selector: str
) -> None:
    async def scenario(service: QuickService) -> None:
        devices = {f"devices/d{n}": {"room": "lab"} for n in range(7)}
        await service.agent(devices=devices).synchronize()
        model = await service.model()
        create = service.client.create_conversion
        error = await _refused(create(model, recipe=ONE, device_selector=selector))
        assert repr(selector) in error.message
        assert "devices/d0, devices/d1" in error.message
        assert error.message.endswith("devices/d4 and 2 more.")
        assert "edgeconv devices list" in error.fix
        assert await service.client.list_conversions() == []

    _play(tmp_path, scenario)


def test_a_benchmark_is_refused_likewise(tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        await service.agent().synchronize()
        conversion, _ = await service.convert(await service.model(), ONE)
        variant = f"{conversion.name}/variants/fp32.onnx"
        error = await _refused(service.client.create_benchmark(variant, "nosuch"))
        assert "devices/a" in error.message
        taken = await service.client.create_benchmark(variant, "devices/a")
        assert [each.name for each in await service.client.list_benchmarks()] == [taken.name]

    _play(tmp_path, scenario)


def test_a_device_that_is_offline_counts(tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        agent = service.agent(devices={"devices/a": {"room": "lab"}})
        await agent.synchronize()
        await agent.synchronize(leaving=True)
        model = await service.model()
        for selector in ("a", "room=lab"):
            await service.client.create_conversion(model, recipe=ONE, device_selector=selector)

    _play(tmp_path, scenario)


def test_without_any_device_only_any_is_taken(tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        create = service.client.create_conversion
        await create(model, recipe=ONE, device_selector="any")
        error = await _refused(create(model, recipe=ONE, device_selector="kind=pi5"))
        assert "no device is registered" in error.message

    _play(tmp_path, scenario)


def test_a_device_on_its_way_is_awaited(tmp_path: Path) -> None:
    async def scenario(service: QuickService) -> None:
        model = await service.model()
        create = service.client.create_conversion
        named = asyncio.create_task(create(model, recipe=ONE, device_selector="local"))
        wrong = asyncio.create_task(create(model, recipe=ONE, device_selector="nosuch"))
        await service.client.list_devices()
        assert not named.done()
        await service.agent(devices={"devices/local": {}}).synchronize()
        assert (await named).name
        assert "devices/local" in (await _refused(asyncio.wait_for(wrong, 10))).message

    _play(tmp_path, scenario, awaited_device="local")
