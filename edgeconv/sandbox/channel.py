"""The pipe between a child and its parent: one JSON object a line."""

from __future__ import annotations

import json
import math
import os
from typing import Any

MAX_LINE_BYTES = 16 * 1024 * 1024


def parse_message(line: bytes) -> dict[str, Any]:
    """The message of a line that a child wrote, which may be led by what it reads.

    Numbers and texts of it end in the database and in messages of the wire, and one that the
    wire can't hold would stop everybody who reads it.

    Raises:
        ValueError: it is no JSON object, or has a number that is not finite or beyond 64 bits,
            or half a character (an unpaired surrogate).
    """
    try:
        message = json.loads(
            line, parse_int=_integer, parse_float=_number, parse_constant=_no_constant
        )
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None
    except json.JSONDecodeError:
        raise ValueError("a line that is no JSON") from None
    if not isinstance(message, dict):
        raise ValueError("JSON that is no object")
    if b"\\u" in line:
        try:
            json.dumps(message, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text with half a character") from None
    return message


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise ValueError("an integer of more than 64 bits")
    return int(digits)


def _number(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError("a number beyond all others")
    return number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name}, which is no JSON")


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
