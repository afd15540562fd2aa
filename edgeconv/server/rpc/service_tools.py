"""What the services work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeconv.base.clock import Clock
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.changes import Changes
from edgeconv.server.engine.engine import Engine
from edgeconv.server.jobs.children import Children
from edgeconv.server.progress import ProgressBoard
from edgeconv.server.retention.collector import Collector
from edgeconv.server.rpc.gates import Gates
from edgeconv.server.store.store import Store


@dataclass(frozen=True)
class ServiceTools:
    """What the services work with.

    Attributes:
        lease_ns: How long a benchmark's lease lives without a heartbeat.
        silence_ns: After this an agent without a word is lost.
        toolchain: Versions of what makes artifacts, by package.
        gates: How many calls of each kind may be under way.
        awaited_device: Of an agent that starts together with the server; else empty.
    """

    store: Store
    blobs: Blobs
    engine: Engine
    children: Children
    changes: Changes
    progress: ProgressBoard
    clock: Clock
    lease_ns: int
    silence_ns: int
    toolchain: Mapping[str, str]
    gates: Gates
    collector: Collector
    awaited_device: str = ""
