"""Executors: the processes that run steps, and whether they live."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from edgeconv.server.store.database import Database, Transaction, insert_new, transaction
from edgeconv.server.store.schema import OURS
from edgeconv.server.store.tables import executors


@dataclass(frozen=True)
class Executors:
    """All executors."""

    database: Database

    @transaction
    def beat(self, tx: Transaction, executor: str) -> None:
        """Says that an executor lives."""
        values = {"executor": executor, "heartbeat_ns": tx.now_ns, "revision": OURS.newest}
        if not insert_new(tx, executors, values):
            tx.execute(
                sa.update(executors)
                .where(executors.c.executor == executor)
                .values(heartbeat_ns=tx.now_ns)
            )

    @transaction
    def others(self, tx: Transaction, executor: str) -> list[str]:
        """All that are known but this one."""
        query = sa.select(executors.c.executor).where(executors.c.executor != executor)
        return [row["executor"] for row in tx.rows(query.order_by(executors.c.executor))]

    @transaction
    def retire_others(self, tx: Transaction, executor: str) -> None:
        """Declares all others dead: only for one who holds the state folder's lock."""
        tx.execute(sa.delete(executors).where(executors.c.executor != executor))

    @transaction
    def retire(self, tx: Transaction, executor: str) -> None:
        """Takes an executor off that ends in order."""
        tx.execute(sa.delete(executors).where(executors.c.executor == executor))
