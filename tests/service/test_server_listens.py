"""Where a server listens: never unencrypted to other machines, unless that is asked for."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.exit_codes import ExitCode
from edgeconv.server.app import ServerSettings
from edgeconv.testing.running_server import running_server


async def _run(settings: ServerSettings) -> str:
    async with running_server(settings) as endpoint:
        return endpoint.address


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "", "192.0.2.7", "server.example"])
def test_a_server_does_not_listen_to_other_machines(tmp_path: Path, host: str) -> None:
    with pytest.raises(EdgeconvError, match="encrypted") as caught:
        asyncio.run(_run(ServerSettings(tmp_path / "state", listen=f"{host}:0")))
    assert caught.value.reason is Reason.FIELD_INVALID
    assert caught.value.violations[0].field == "listen"
    assert "--insecure-listen" in caught.value.fix
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_loopback_needs_no_leave_and_warns_of_nothing(
    tmp_path: Path, host: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert asyncio.run(_run(ServerSettings(tmp_path / "state", listen=f"{host}:0")))
    assert "encrypted" not in caplog.text


def test_who_asks_for_it_is_warned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = ServerSettings(tmp_path / "state", listen="0.0.0.0:0", insecure=True)
    with caplog.at_level(logging.WARNING):
        assert asyncio.run(_run(settings)).startswith("0.0.0.0:")
    assert "nothing is encrypted" in caplog.text


@pytest.mark.parametrize("command", ["serve", "up"])
def test_the_commands_refuse_it_too(tmp_path: Path, command: str) -> None:
    words = [command, "--listen", "0.0.0.0:0", "--state", str(tmp_path / "state")]
    done = subprocess.run(
        [sys.executable, "-m", "edgeconv", *words],
        capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == ExitCode.BAD_INPUT
    assert "--insecure-listen" in done.stderr
