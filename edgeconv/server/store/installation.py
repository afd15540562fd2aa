"""What is true of a database as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from edgeconv.base.ids import new_id
from edgeconv.server.store.database import Database, Transaction, insert_new, transaction
from edgeconv.server.store.tables import installation

_BLOBS = "blobs"
_DATABASE = "database"


@dataclass(frozen=True)
class Installation:
    """The database and what belongs to it."""

    database: Database

    @transaction
    def identity(self, tx: Transaction) -> str:
        """What tells this database from others; kept for good."""
        insert_new(tx, installation, {"name": _DATABASE, "value": new_id()})
        known = tx.row(sa.select(installation).where(installation.c.name == _DATABASE))
        assert known is not None
        return str(known["value"])

    @transaction
    def known_blobs(self, tx: Transaction) -> str:
        """The name of the folder that its files lie in; empty when it has none yet."""
        known = tx.row(sa.select(installation).where(installation.c.name == _BLOBS))
        return str(known["value"]) if known else ""

    @transaction
    def keep_blobs(self, tx: Transaction, found: str) -> str:
        """The name of the folder that its files lie in; `found` becomes it, if it has none."""
        insert_new(tx, installation, {"name": _BLOBS, "value": found})
        known = tx.row(sa.select(installation).where(installation.c.name == _BLOBS))
        assert known is not None
        return str(known["value"])
