"""Attempts at a conversion: which one counts, and how many were lost in a row."""

from __future__ import annotations

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.records import ConversionRecord
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.living import check_lives, lives
from edgeconv.server.store.steps import MAX_LOST_RUNS
from edgeconv.server.store.tables import conversions

MAX_LOST_ATTEMPTS = MAX_LOST_RUNS + 1
"""More than a step may lose, so that a step at fault ends no more than its own variants."""


def was_lost(tx: Transaction, before: ConversionRecord, executor: str) -> bool:
    """Whether the attempt before was lost with its executor."""
    if before.executor in ("", executor):
        return False
    return not lives(tx, before.executor)


def brought_on(tx: Transaction, conversion: str) -> None:
    """Begins the count of lost attempts anew: a step was brought on."""
    tx.execute(
        sa.update(conversions)
        .where(conversions.c.id == conversion, conversions.c.lost_attempts > 0)
        .values(lost_attempts=0)
    )


def given_up(name: str, lost: int) -> EdgeconvError:
    """Why a conversion is not begun once more."""
    return EdgeconvError(
        Reason.LIMIT_EXCEEDED,
        f"{name} was given up: {lost} times in a row the server that did it died.",
        fix="The servers' logs may say of what; the machine may have too little memory.",
        conversion=name,
        lost_attempts=lost,
    )


def is_live(tx: Transaction, conversion: str, attempt: int) -> bool:
    """Whether that attempt is the newest, and the conversion has not ended.

    Raises:
        EdgeconvError: DECLARED_DEAD when it is, and its executor does not live: another one will
            begin the next attempt.
    """
    query = sa.select(conversions.c.executor).where(
        conversions.c.id == conversion,
        conversions.c.attempt == attempt,
        conversions.c.state == "converting",
    )
    found = tx.row(query)
    if found is None:
        return False
    check_lives(tx, found["executor"])
    return True
