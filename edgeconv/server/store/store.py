"""The store: every table's operations, each one a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import sqlalchemy as sa

from edgeconv.base.clock import Clock
from edgeconv.base.disk import disk_full, free_at
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.quantities import NS_PER_S
from edgeconv.server.store.connections import TimeLimits
from edgeconv.server.store.conversions import Conversions
from edgeconv.server.store.database import Database
from edgeconv.server.store.datasets import Datasets
from edgeconv.server.store.executors import Executors
from edgeconv.server.store.fleet import Fleet
from edgeconv.server.store.installation import Installation
from edgeconv.server.store.models import ModelVersions
from edgeconv.server.store.outages import outage_of
from edgeconv.server.store.retention import Retention
from edgeconv.server.store.schema import finish, upgrade
from edgeconv.server.store.senders import Senders
from edgeconv.server.store.stamps import Stamps
from edgeconv.server.store.steps import Steps
from edgeconv.server.store.urls import shown

_LEAST_FREE_BYTES = 256 * 1024


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
    installation: Installation
    retention: Retention
    stamps: Stamps

    @classmethod
    async def open(
        cls,
        url: str | sa.URL,
        *,
        touch: Callable[[Iterable[str]], None],
        clock: Clock | None = None,
        lease_s: float = 30.0,
        silence_s: float = 30.0,
        limits: TimeLimits = TimeLimits(),  # noqa: B008
    ) -> Self:
        """Opens a database and brings its tables up to date.

        Args:
            url: As SQLAlchemy writes it.
            touch: Called on the event loop after a commit, with the topics it changed.
            clock: Where its time comes from; without one, from the database, so that several
                servers have the same: on PostgreSQL when a transaction began, on SQLite the
                clock of this machine.
            lease_s: How long a benchmark's lease lives without a heartbeat.
            silence_s: After this an agent without a word is lost.
            limits: How long what is asked of the database may take.

        Raises:
            EdgeconvError: DATABASE_UNAVAILABLE, STATE_UNWRITABLE; DATABASE_NEWER.
        """
        database = Database(url, clock, touch, limits)
        try:
            await asyncio.to_thread(upgrade, database.engine)
        except BaseException as error:
            await database.close()
            if isinstance(error, sa.exc.SQLAlchemyError):
                raise _unopened(database.engine, error) from error
            raise
        return cls._over(database, round(lease_s * NS_PER_S), round(silence_s * NS_PER_S))

    @classmethod
    def _over(cls, database: Database, lease_ns: int, silence_ns: int) -> Self:
        return cls(
            database,
            Senders(database),
            ModelVersions(database),
            Datasets(database),
            Steps(database),
            Conversions(database),
            Fleet(database, lease_ns, silence_ns),
            Executors(database),
            Installation(database),
            Retention(database),
            Stamps(database),
        )

    def patient(self) -> Self:
        """The same store for who has no caller that waits, such as a job: as long as the
        database is lost, its operations wait for it instead of failing."""
        return self._over(self.database.patient(), self.fleet.lease_ns, self.fleet.silence_ns)

    def end_patience(self) -> None:
        """Lets nobody wait for a lost database any longer."""
        self.database.end_patience()

    async def finish_migrations(self) -> bool:
        """Removes what only older servers needed, once none of them lives; whether that is
        done."""
        return await asyncio.to_thread(finish, self.database.engine)

    async def close(self) -> None:
        """Waits for what runs and closes the database."""
        await self.database.close()


def _unopened(engine: sa.Engine, error: sa.exc.SQLAlchemyError) -> BaseException:
    """What a server that starts tells its operator; a fault of ours stays what it is."""
    outage = outage_of(error)
    if outage is None:
        return error
    told = outage.told()
    if told.reason is Reason.DISK_FULL or _is_on_full_disk(engine.url):
        place = Path(engine.url.database or "").parent
        return disk_full(place, doing=f"opening the database {shown(engine.url)}")
    return EdgeconvError(
        told.reason,
        f"The database {shown(engine.url)} can't be used: {outage.detail}.",
        fix="Look whether it runs and was created, and whether its address and the right to use"
        " it are as given."
        if told.reason is Reason.DATABASE_UNAVAILABLE
        else "Give the right to write there, or make room.",
        database=shown(engine.url),
    )


def _is_on_full_disk(url: sa.URL) -> bool:
    """SQLite does not say so when it can't make room for what it shares with other processes."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return False
    free = free_at(Path(url.database))
    return free is not None and free < _LEAST_FREE_BYTES
