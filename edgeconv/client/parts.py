"""How a file is cut into parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PART_BYTES = 16 * 1024 * 1024
MESSAGE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Span:
    """A contiguous piece: where it begins and how long it is, in bytes."""

    offset: int
    size: int


def plan_parts(size_bytes: int, part_bytes: int = PART_BYTES) -> tuple[Span, ...]:
    """The parts of a file of that size, in order; an empty file has none.

    Every part but the last has `part_bytes`.
    """
    return tuple(
        Span(offset, min(part_bytes, size_bytes - offset))
        for offset in range(0, size_bytes, part_bytes)
    )


def cut(data: memoryview, message_bytes: int = MESSAGE_BYTES) -> Iterator[memoryview]:
    """The pieces of a part that travel in one message each."""
    for offset in range(0, len(data), message_bytes):
        yield data[offset : offset + message_bytes]
