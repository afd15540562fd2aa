"""Conversions whose files were removed by retention, inside a transaction."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.quantities import NS_PER_S
from edgeconv.server.store.database import Transaction
from edgeconv.server.store.tables import conversions


def use_files(tx: Transaction, conversion: str) -> None:
    """For who is about to read files of a conversion: they stay for a while.

    Raises:
        EdgeconvError: COLLECTED.
    """
    mine = conversions.c.id == conversion
    row = tx.row(sa.select(conversions.c.collected_ns, conversions.c.model_version).where(mine))
    if row is None:
        return
    if row["collected_ns"]:
        day = datetime.fromtimestamp(row["collected_ns"] // NS_PER_S, UTC).date().isoformat()
        raise EdgeconvError(
            Reason.COLLECTED,
            f"Retention removed the files of 'conversions/{conversion}' on {day}.",
            fix=f"Convert {row['model_version']!r} again with the same recipe: what is still"
            " remembered of it is not done again. `--keep-for` and `--disk-cap` of the server"
            " say how long files are kept.",
            name=f"conversions/{conversion}",
            model_version=row["model_version"],
            collected=day,
        )
    tx.execute(sa.update(conversions).where(mine).values(used_ns=tx.now_ns))
