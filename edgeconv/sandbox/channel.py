"""The pipe between a child and its parent: one JSON object a line."""

from __future__ import annotations

import json
import os
from typing import Any

MAX_LINE_BYTES = 16 * 1024 * 1024


class Channel:
    """The child's end. Its own descriptors, so that nothing a library prints gets between."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._reader = os.fdopen(read_fd, "rb")
        self._write_fd = write_fd

    def receive(self) -> dict[str, Any] | None:
        """The parent's next message; None when the parent closed the channel."""
        line = self._reader.readline(MAX_LINE_BYTES)
        return json.loads(line) if line else None

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message.

        Raises:
            BrokenPipeError: the parent is gone.
            ValueError: the message holds NaN or infinity.
        """
        data = json.dumps(message, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        view = memoryview(data)
        while view:
            view = view[os.write(self._write_fd, view) :]
