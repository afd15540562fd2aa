"""Executors: the processes that run steps, and which of them live.

One that has no row here is dead: it ended in order, or another one declared it dead. Its name is
never used again, and it holds nothing from then on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from edgeconv.server.store.database import Database, Transaction, insert_new, transaction
from edgeconv.server.store.living import give_back, give_back_of_dead
from edgeconv.server.store.schema import OURS
from edgeconv.server.store.tables import conversions, executors


@dataclass(frozen=True)
class Executors:
    """All executors."""

    database: Database

    @transaction
    def enter(self, tx: Transaction, executor: str) -> None:
        """Makes a new executor known; it lives from now on, and what the dead held is free."""
        insert_new(
            tx, executors,
            {
                "executor": executor, "heartbeat_ns": tx.now_ns, "steady_ns": tx.now_ns,
                "revision": OURS.newest,
            },
        )  # fmt: skip
        give_back_of_dead(tx)

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
        """Declares dead whoever has been silent for so long, and names them; what they held is
        free.

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
        return _declare_dead(tx, silent)

    @transaction
    def declare_others_dead(self, tx: Transaction, executor: str) -> list[str]:
        """Declares all others dead: only for one who holds the lock of what they all use."""
        return _declare_dead(tx, executors.c.executor != executor)

    @transaction
    def retire(self, tx: Transaction, executor: str) -> None:
        """Takes an executor off that ends in order: none of its attempts counts as lost, and no
        run of a step that it held still.

        Without effect on one that was declared dead.
        """
        retired = tx.execute(sa.delete(executors).where(executors.c.executor == executor))
        if retired.rowcount:
            mine = conversions.c.executor == executor
            tx.execute(sa.update(conversions).where(mine).values(executor=""))
            give_back(tx, executor)


def _declare_dead(tx: Transaction, whom: sa.ColumnElement[bool]) -> list[str]:
    gone = tx.execute(sa.delete(executors).where(whom).returning(executors.c.executor))
    dead = sorted(gone.scalars())
    if dead:
        give_back_of_dead(tx)
    return dead
