"""What executors hold, and that only the living hold anything.

An executor that loses its row loses its steps in the same transaction, and one without a row
gets nothing. Transactions are serializable: of a claim and the death of its owner at once, one
is done anew and sees the other.
"""

from __future__ import annotations

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.tables import executors, steps


def lives(tx: Transaction, executor: str) -> bool:
    """Whether an executor lives."""
    row = sa.select(executors.c.executor).where(executors.c.executor == executor)
    return tx.row(row) is not None


def check_lives(tx: Transaction, executor: str) -> None:
    """Refuses who does not live: what it began is another one's now.

    Raises:
        EdgeconvError: DECLARED_DEAD.
    """
    if lives(tx, executor):
        return
    raise EdgeconvError(
        Reason.DECLARED_DEAD,
        f"Server {executor!r} was taken for dead, so others go on with its jobs.",
        fix="Start it again.",
        executor=executor,
    )


def give_back_of_dead(tx: Transaction) -> None:
    """Gives back the steps that the dead were at; each has lost a run by it.

    All of them: an older server declares others dead and leaves their steps.
    """
    alive = sa.select(executors.c.executor)
    _give_back(tx, steps.c.owner.not_in(alive), lost=1)


def give_back(tx: Transaction, executor: str) -> None:
    """Gives back the steps of an executor that ends in order: none has lost a run."""
    _give_back(tx, steps.c.owner == executor, lost=0)


def _give_back(tx: Transaction, held: sa.ColumnElement[bool], *, lost: int) -> None:
    given = tx.execute(
        sa.update(steps)
        .where(steps.c.state == "running", held)
        .values(state="new", lost_runs=steps.c.lost_runs + lost, changed_ns=tx.now_ns)
        .returning(steps.c.key)
    )
    tx.changed.update(f"steps/{key}" for key in given.scalars())
