"""Executors: the processes that run steps, and which of them live.

One that has no row here is dead: it ended in order, or another one declared it dead. Its name is
never used again.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from edgeconv.server.store.database import Database, Transaction, insert_new, transaction
from edgeconv.server.store.schema import OURS
from edgeconv.server.store.tables import conversions, executors


@dataclass(frozen=True)
class Executors:
    """All executors."""

    database: Database

    @transaction
    def enter(self, tx: Transaction, executor: str) -> None:
        """Makes a new executor known; it lives from now on."""
        insert_new(
            tx,
            executors,
            {"executor": executor, "heartbeat_ns": tx.now_ns, "revision": OURS.newest},
        )

    @transaction
    def beat(self, tx: Transaction, executor: str) -> bool:
        """Says that an executor lives; False when it was declared dead, and has to end."""
        beaten = tx.execute(
            sa.update(executors)
            .where(executors.c.executor == executor)
            .values(heartbeat_ns=tx.now_ns)
        )
        return beaten.rowcount == 1

    @transaction
    def others(self, tx: Transaction, executor: str) -> list[str]:
        """All that live but this one."""
        query = sa.select(executors.c.executor).where(executors.c.executor != executor)
        return [row["executor"] for row in tx.rows(query.order_by(executors.c.executor))]

    @transaction
    def declare_dead(self, tx: Transaction, judge: str, *, silent_ns: int) -> list[str]:
        """Declares dead whoever has been silent for so long, and names them.

        Args:
            judge: Never among them.
        """
        silent = sa.and_(
            executors.c.executor != judge, executors.c.heartbeat_ns < tx.now_ns - silent_ns
        )
        found = tx.execute(sa.delete(executors).where(silent).returning(executors.c.executor))
        return sorted(found.scalars())

    @transaction
    def declare_others_dead(self, tx: Transaction, executor: str) -> list[str]:
        """Declares all others dead: only for one who holds the lock of what they all use."""
        others = executors.c.executor != executor
        found = tx.execute(sa.delete(executors).where(others).returning(executors.c.executor))
        return sorted(found.scalars())

    @transaction
    def retire(self, tx: Transaction, executor: str) -> None:
        """Takes an executor off that ends in order: none of its attempts counts as lost.

        Without effect on one that was declared dead.
        """
        retired = tx.execute(sa.delete(executors).where(executors.c.executor == executor))
        if retired.rowcount:
            mine = conversions.c.executor == executor
            tx.execute(sa.update(conversions).where(mine).values(executor=""))
