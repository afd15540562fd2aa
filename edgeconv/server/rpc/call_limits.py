"""What callers may have under way at once, and how long a call may take."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field, fields
from typing import TypeVar

MIB = 1024 * 1024

N = TypeVar("N", int, float)


def _limit(default: N, words: str) -> N:
    made: N = field(default=default, metadata={"words": words})
    return made


@dataclass(frozen=True)
class CallLimits:
    """The limits of a server; `limit_words` says what each is."""

    calls: int = _limit(64, "Calls of one request and one answer, but for lists.")
    lists: int = _limit(4, "Pages of lists.")
    uploads: int = _limit(16, "Parts of files that come in; as many again of agents' results.")
    upload_bytes: int = _limit(256 * MIB, "Bytes of these parts together: they are in memory.")
    upload_rate: int = _limit(
        32 * 1024, "Bytes a second that a part brings at least, over `upload_window_s`."
    )
    upload_window_s: float = _limit(
        30.0, "Seconds over which that is asked; one that brings less is ended, and sent anew."
    )
    downloads: int = _limit(32, "Files that are read; as many again by agents.")
    watches: int = _limit(1000, "Watches of conversions, model versions and datasets.")
    agents: int = _limit(1000, "Agents that wait for work.")
    connections: int = _limit(
        4096, "Connections, or half of the descriptors that the server may open."
    )
    conversions: int = _limit(1000, "Conversions that are queued or run (`--queue`).")
    benchmarks: int = _limit(
        10_000,
        "Benchmarks that wait for a device or are measured, before one more can be asked for;"
        " those that a conversion brings always go in.",
    )
    inspections: int = _limit(
        1000, "Model versions that wait for inspection or are inspected; as many datasets."
    )
    storage: int = _limit(8, "Collections of blobs and checks of them.")
    line: int = _limit(256, "Calls of one kind that wait for their turn.")
    line_s: float = _limit(2.0, "Seconds that a call waits for its turn.")
    idle_s: float = _limit(
        60.0, "Seconds that a caller may leave the server waiting for bytes, or bytes lying."
    )
    call_s: float = _limit(
        60.0,
        "Seconds that a call may take. What is read as it comes has no such limit: watches,"
        " files, collections and checks of blobs.",
    )
    transfer_s: float = _limit(
        600.0, "Seconds that an upload may take, or a call that digests what was sent."
    )

    @property
    def most_connections(self) -> int:
        """`connections`, as far as descriptors go: files and children need some, too."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return self.connections if soft < 0 else max(min(self.connections, soft // 2), 1)


def limit_words() -> dict[str, tuple[float, str]]:
    """Name of a limit → its default, and what it is."""
    usual = CallLimits()
    return {
        each.name: (getattr(usual, each.name), each.metadata["words"]) for each in fields(usual)
    }
