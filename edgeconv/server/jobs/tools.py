"""What jobs work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgeconv.base.clock import Clock
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.changes import Changes
from edgeconv.server.jobs.children import Children
from edgeconv.server.progress import ProgressBoard
from edgeconv.server.store.store import Store


@dataclass(frozen=True)
class Tools:
    """What jobs work with.

    Attributes:
        executor: Under which steps are claimed.
        toolchain: Versions of what makes artifacts; part of every step's key.
    """

    store: Store
    blobs: Blobs
    children: Children
    changes: Changes
    progress: ProgressBoard
    clock: Clock
    executor: str
    toolchain: Mapping[str, str]
    cpu_class: str
