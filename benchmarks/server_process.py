"""A server of its own for a benchmark: a real process on a fresh state folder."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeconv.base.state_folder import Endpoint, read_endpoint
from edgeconv.client.sync import Client

START_S = 60.0


@dataclass(frozen=True)
class ServerProcess:
    """A running server.

    Attributes:
        process: The server itself, not a shell around it.
        state: Its state folder.
        endpoint: Its address and token.
    """

    process: subprocess.Popen[bytes]
    state: Path
    endpoint: Endpoint

    def connect(self) -> Client:
        """A client whose connection stands."""
        return Client.connect(self.endpoint.address, self.endpoint.token, timeout_s=START_S)

    def reset_peak(self) -> None:
        """Sets the process's high-water mark of resident memory to what it holds now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """High-water mark of resident memory since the reset, in bytes."""
        return self._status_bytes("VmHWM")

    def resident_bytes(self) -> int:
        """Resident memory now, in bytes."""
        return self._status_bytes("VmRSS")

    def descriptors(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def _status_bytes(self, key: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{key}:\s+(\d+) kB", status, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"process {self.process.pid} shows no {key}")
        return int(found[1]) * 1024


@contextlib.contextmanager
def running_server(state: Path, *, module: str = "") -> Iterator[ServerProcess]:
    """Starts `edgeconv serve` on a state folder; it is ended with the block.

    Args:
        module: What to run instead, with the folder as its one argument.
    """
    words = [module, str(state)] if module else ["edgeconv", "serve", "--state", str(state)]
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield ServerProcess(process, state, _wait_for_endpoint(process, state))
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_for_endpoint(process: subprocess.Popen[bytes], state: Path) -> Endpoint:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        endpoint = read_endpoint(state)
        if endpoint is not None:
            return endpoint
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        time.sleep(0.02)
    raise RuntimeError(f"the server did not answer in {START_S:.0f} s")
