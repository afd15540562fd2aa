"""Every call of the client against a real server that has nothing: refused in words, or empty."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.aio import AsyncClient
from edgeconv.client.catalog_calls import collect
from edgeconv.server.app import ServerSettings
from edgeconv.testing.running_server import running_server
from edgeconv.v1 import files_pb2

Call = Callable[[AsyncClient, Path], Awaitable[Any]]


async def watch_all(client: AsyncClient, _: Path) -> Any:
    return [event async for event in client.watch_conversion("conversions/none")]


UNKNOWN: dict[str, Call] = {
    "get_model_version": lambda c, _: c.get_model_version("models/none/versions/1"),
    "wait_model_version": lambda c, _: c.wait_model_version("models/none/versions/1"),
    "delete_model_version": lambda c, _: c.delete_model_version("models/none/versions/1"),
    "get_dataset": lambda c, _: c.get_dataset("datasets/none"),
    "wait_dataset": lambda c, _: c.wait_dataset("datasets/none"),
    "delete_dataset": lambda c, _: c.delete_dataset("datasets/none"),
    "create_conversion": lambda c, _: c.create_conversion("models/none/versions/1"),
    "get_conversion": lambda c, _: c.get_conversion("conversions/none"),
    "cancel_conversion": lambda c, _: c.cancel_conversion("conversions/none"),
    "watch_conversion": watch_all,
    "get_device": lambda c, _: c.get_device("devices/none"),
    "drain_device": lambda c, _: c.drain_device("devices/none"),
    "resume_device": lambda c, _: c.resume_device("devices/none"),
    "delete_device": lambda c, _: c.delete_device("devices/none"),
    "create_benchmark": lambda c, _: c.create_benchmark("conversions/none/variants/v", "any"),
    "get_benchmark": lambda c, _: c.get_benchmark("benchmarks/none"),
    "cancel_benchmark": lambda c, _: c.cancel_benchmark("benchmarks/none"),
    "get_benchmark_record": lambda c, _: c.get_benchmark_record("benchmarks/none"),
    "download": lambda c, path: c.download(
        "models/none/versions/1",
        files_pb2.File(name="net.onnx", digest="sha256:" + "0" * 64, size_bytes=1),
        path / "net.onnx",
    ),
}
MALFORMED: dict[str, Call] = {
    "get_model_version": lambda c, _: c.get_model_version("models/x"),
    "get_dataset": lambda c, _: c.get_dataset("nonsense"),
    "get_conversion": lambda c, _: c.get_conversion("conversions/../x"),
    "get_device": lambda c, _: c.get_device(""),
    "get_benchmark": lambda c, _: c.get_benchmark("benchmarks/"),
}
EMPTY: dict[str, Call] = {
    "list_model_versions": lambda c, _: c.list_model_versions(),
    "list_datasets": lambda c, _: c.list_datasets(),
    "list_conversions": lambda c, _: c.list_conversions(),
    "list_devices": lambda c, _: c.list_devices(),
    "list_benchmarks": lambda c, _: c.list_benchmarks(),
}


async def refusal(call: Call, client: AsyncClient, path: Path) -> EdgeconvError:
    with pytest.raises(EdgeconvError) as caught:
        await asyncio.wait_for(call(client, path), 20)
    return caught.value


def test_what_is_not_there_or_malformed_is_refused_by_name(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            running_server(ServerSettings(tmp_path / "state")) as endpoint,
            await AsyncClient.connect(endpoint.address, endpoint.token) as client,
        ):
            for name, call in UNKNOWN.items():
                error = await refusal(call, client, tmp_path)
                assert error.reason is Reason.NOT_FOUND, name
                assert "none" in error.message, name
            for name, call in MALFORMED.items():
                error = await refusal(call, client, tmp_path)
                assert error.reason is Reason.FIELD_INVALID, name
                assert [violation.field for violation in error.violations] == ["name"], name
            for name, call in EMPTY.items():
                assert await call(client, tmp_path) == [], name
        assert [path.name for path in tmp_path.iterdir() if "net" in path.name] == []

    asyncio.run(main())


def test_without_the_token_every_call_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_server(ServerSettings(tmp_path / "state")) as endpoint:
            for token in ("", "wrong", endpoint.token[:-1]):
                async with await AsyncClient.connect(endpoint.address, token) as client:
                    for name, call in {**UNKNOWN, **MALFORMED, **EMPTY}.items():
                        error = await refusal(call, client, tmp_path)
                        assert error.reason is Reason.UNAUTHENTICATED, name
                        assert error.exit_code == 5
                        assert "EDGECONV_TOKEN" in error.fix

    asyncio.run(main())


@pytest.mark.parametrize("total", [0, 1, 999, 1000, 1001, 2500])
@pytest.mark.parametrize("limit", [None, 0, 1, 1000, 1700])
def test_pages_are_joined_up_to_the_limit(total: int, limit: int | None) -> None:
    asked: list[int] = []

    async def page(size: int, token: str) -> tuple[list[int], str]:
        asked.append(size)
        begin = int(token or 0)
        end = min(begin + size, total)
        return list(range(begin, end)), str(end) if end < total else ""

    found = asyncio.run(collect(page, limit))
    assert found == list(range(total if limit is None else min(total, limit)))
    assert all(0 < size <= 1000 for size in asked)
