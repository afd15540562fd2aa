"""Who sent which bytes. A digest alone gives nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from edgeconv.server.store.database import Database, Transaction, insert_new, transaction
from edgeconv.server.store.tables import blob_senders

_AT_ONCE = 500


@dataclass(frozen=True)
class Senders:
    """What each principal sent."""

    database: Database

    @transaction
    def add(self, tx: Transaction, principal: str, digest: str, size_bytes: int) -> None:
        """Notes that a principal sent a blob."""
        insert_new(
            tx, blob_senders,
            {"principal": principal, "digest": digest, "size_bytes": size_bytes},
        )  # fmt: skip

    @transaction
    def sizes(self, tx: Transaction, principal: str, digests: Collection[str]) -> dict[str, int]:
        """Digest → size in bytes, of those that the principal sent."""
        wanted = sorted(set(digests))
        found: dict[str, int] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            rows = tx.rows(
                sa.select(blob_senders.c.digest, blob_senders.c.size_bytes).where(
                    blob_senders.c.principal == principal,
                    blob_senders.c.digest.in_(wanted[start : start + _AT_ONCE]),
                )
            )
            found.update({row["digest"]: row["size_bytes"] for row in rows})
        return found
