"""Durable events of conversions: a sequence without a gap, written with the change itself."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from edgeconv.server.records import EventRecord
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.tables import conversions, events


def append_event(tx: Transaction, conversion: str, kind: str, body: dict[str, Any]) -> None:
    """Adds an event in the transaction of the change that it tells of.

    The sequence is taken from the conversion's own row, which also orders writers.
    """
    sequence = tx.execute(
        sa.update(conversions)
        .where(conversions.c.id == conversion)
        .values(sequence=conversions.c.sequence + 1)
        .returning(conversions.c.sequence)
    ).scalar_one()
    tx.execute(
        sa.insert(events).values(
            conversion=conversion, sequence=sequence, time_ns=tx.now_ns, kind=kind, body=body
        )
    )
    tx.changed.add(f"conversions/{conversion}")


def read_events(tx: Transaction, conversion: str, after: int, limit: int) -> list[EventRecord]:
    """Events after a sequence, in order."""
    rows = tx.rows(
        sa.select(events.c.sequence, events.c.time_ns, events.c.kind, events.c.body)
        .where(events.c.conversion == conversion, events.c.sequence > after)
        .order_by(events.c.sequence)
        .limit(limit)
    )
    return [EventRecord.model_validate(row) for row in rows]
