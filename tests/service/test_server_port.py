"""A server that may choose its port comes back where it was: who lost it finds it again."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from edgeconv.base.state_folder import StateFolder
from edgeconv.client.aio import AsyncClient
from edgeconv.server.app import ServerSettings
from edgeconv.testing.running_server import running_server


async def _address(state: Path) -> str:
    async with (
        running_server(ServerSettings(state)) as endpoint,
        await AsyncClient.connect(endpoint.address, endpoint.token) as client,
    ):
        assert await client.list_devices() == []
        return endpoint.address


def test_the_port_is_kept_over_a_restart(tmp_path: Path) -> None:
    first = asyncio.run(_address(tmp_path))
    assert [asyncio.run(_address(tmp_path)) for _ in range(2)] == [first, first]


def test_a_port_that_another_has_by_now_is_left_to_it(tmp_path: Path) -> None:
    first = asyncio.run(_address(tmp_path))
    with socket.create_server(("127.0.0.1", int(first.rpartition(":")[2]))):
        assert asyncio.run(_address(tmp_path)) != first


def test_a_port_file_that_makes_no_sense_does_no_harm(tmp_path: Path) -> None:
    for text in ("", "x", "-1", "99999999"):
        StateFolder(tmp_path).port.write_text(text)
        asyncio.run(_address(tmp_path))
