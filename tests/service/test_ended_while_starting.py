"""A server that is asked to end before it listens, while its database does not answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["serve", "up"])
def test_sigterm_ends_a_start_that_waits_for_a_database(tmp_path: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        words = [command, "--state", str(tmp_path / "state"), "--blobs", str(tmp_path / "blobs")]
        url = f"postgresql://edgeconv@127.0.0.1:{port}/edgeconv"
        with subprocess.Popen(
            [sys.executable, "-m", "edgeconv", *words],
            env=os.environ | {"EDGECONV_DATABASE": url},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                silent.settimeout(60)
                connection, _ = silent.accept()
                with connection:
                    began = time.monotonic()
                    process.send_signal(signal.SIGTERM)
                    said, _ = process.communicate(timeout=30)
                    assert time.monotonic() - began < 2.0
            finally:
                process.kill()
    assert process.returncode == 0
    assert said == b""
