"""Variants of conversions, inside a transaction of theirs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from edgeconv.server.records import VariantRecord
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.events import append_event
from edgeconv.server.store.tables import variants


def read_variants(tx: Transaction, conversion: str) -> list[VariantRecord]:
    """The variants of a conversion in the recipe's order."""
    columns = [c for c in variants.c if c.name not in ("conversion", "position")]
    rows = tx.rows(
        sa.select(*columns).where(variants.c.conversion == conversion).order_by(variants.c.position)
    )
    return [VariantRecord.model_validate(row) for row in rows]


def variant_changed(
    tx: Transaction, conversion: str, variant: str, state: str, message: str
) -> None:
    """Tells of a variant's new state."""
    body = {"variant": variant, "state": state, "message": message}
    append_event(tx, conversion, "variant_changed", body)


def end_variant(
    tx: Transaction, conversion: str, name: str, state: str, error: dict[str, Any] | None
) -> None:
    """Ends a variant that is pending, and tells of it; another one stays as it is."""
    ended = tx.execute(
        sa.update(variants)
        .where(
            variants.c.conversion == conversion,
            variants.c.name == name,
            variants.c.state == "pending",
        )
        .values(state=state, error=error)
    )
    if ended.rowcount:
        variant_changed(tx, conversion, name, state, (error or {}).get("message", ""))
