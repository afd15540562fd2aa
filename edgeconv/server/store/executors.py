"""Executors: the processes that run steps, and which of them live.

One that has no row here is dead: it ended in order, or another one declared it dead. Its name is
never used again.
"""

from __future__ import annotations

from collections.abc import Collection
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
            tx, executors,
            {
                "executor": executor, "heartbeat_ns": tx.now_ns, "steady_ns": tx.now_ns,
                "revision": OURS.newest,
            },
        )  # fmt: skip

    @transaction
    def beat(self, tx: Transaction, executor: str, *, silent_ns: int) -> bool:
        """Says that an executor lives; False when it was declared dead, and has to end.

        Args:
            silent_ns: As for `declare_dead`. A pause of half of it is noted.
        """
        paused = executors.c.heartbeat_ns < tx.now_ns - silent_ns // 2
        beaten = tx.execute(
            sa.update(executors)
            .where(executors.c.executor == executor)
            .values(
                heartbeat_ns=tx.now_ns,
                steady_ns=sa.case((paused, tx.now_ns), else_=executors.c.steady_ns),
            )
        )
        return beaten.rowcount == 1

    @transaction
    def dead_among(self, tx: Transaction, names: Collection[str]) -> set[str]:
        """Those that don't live."""
        living = tx.rows(sa.select(executors.c.executor))
        return set(names) - {row["executor"] for row in living}

    @transaction
    def declare_dead(self, tx: Transaction, judge: str, *, silent_ns: int) -> list[str]:
        """Declares dead whoever has been silent for so long, and names them.

        Args:
            judge: Never among them. It declares nobody dead unless it was heard itself all that
                time without a pause: after the database was away, all have been silent.
        """
        heard = tx.row(sa.select(executors).where(executors.c.executor == judge))
        if (
            heard is None
            or heard["heartbeat_ns"] < tx.now_ns - silent_ns // 2
            or heard["steady_ns"] > tx.now_ns - silent_ns
        ):
            return []
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
