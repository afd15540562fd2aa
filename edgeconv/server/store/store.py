"""The store: every table's operations, each one a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

from edgeconv.base.clock import Clock
from edgeconv.server.store.conversions import Conversions
from edgeconv.server.store.database import Database
from edgeconv.server.store.datasets import Datasets
from edgeconv.server.store.executors import Executors
from edgeconv.server.store.fleet import Fleet
from edgeconv.server.store.models import ModelVersions
from edgeconv.server.store.retention import Retention
from edgeconv.server.store.schema import upgrade
from edgeconv.server.store.senders import Senders
from edgeconv.server.store.steps import Steps

NS_PER_S = 1_000_000_000


@dataclass(frozen=True)
class Store:
    """What the server keeps, by idea."""

    database: Database
    senders: Senders
    models: ModelVersions
    datasets: Datasets
    steps: Steps
    conversions: Conversions
    fleet: Fleet
    executors: Executors
    retention: Retention

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        clock: Clock,
        touch: Callable[[Iterable[str]], None],
        lease_s: float = 30.0,
        silence_s: float = 30.0,
    ) -> Self:
        """Opens a database and brings its tables up to date.

        Args:
            url: As SQLAlchemy writes it.
            touch: Called on the event loop after a commit, with the topics it changed.
            lease_s: How long a benchmark's lease lives without a heartbeat.
            silence_s: After this an agent without a word is lost.
        """
        database = Database(url, clock, touch)
        await asyncio.to_thread(upgrade, database.engine)
        return cls(
            database,
            Senders(database),
            ModelVersions(database),
            Datasets(database),
            Steps(database),
            Conversions(database),
            Fleet(database, round(lease_s * NS_PER_S), round(silence_s * NS_PER_S)),
            Executors(database),
            Retention(database),
        )

    async def close(self) -> None:
        """Waits for what runs and closes the database."""
        await self.database.close()
