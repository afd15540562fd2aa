"""What tells that a resource has changed, read for many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from edgeconv.server.store.database import Database, Transaction, transaction
from edgeconv.server.store.tables import conversions, datasets, model_versions


@dataclass(frozen=True)
class Stamps:
    """Of conversions, datasets and model versions."""

    database: Database

    @transaction
    def read(self, tx: Transaction, names: Collection[str]) -> dict[str, str]:
        """A text for each resource that is there; it is another one after a change that those
        who watch are to be told of. What is no name of such a resource is left out."""
        by_kind: defaultdict[str, list[list[str]]] = defaultdict(list)
        for name in names:
            kind, *rest = name.split("/")
            by_kind[kind].append(rest)
        return {
            **_of_conversions(tx, [rest[0] for rest in by_kind["conversions"]]),
            **_of_datasets(tx, [rest[0] for rest in by_kind["datasets"]]),
            **_of_versions(
                tx, [(rest[0], int(rest[2])) for rest in by_kind["models"] if rest[2].isdigit()]
            ),
        }


def _of_conversions(tx: Transaction, ids: list[str]) -> dict[str, str]:
    if not ids:
        return {}
    table = conversions.c
    rows = tx.rows(sa.select(table.id, table.sequence).where(table.id.in_(ids)))
    return {f"conversions/{row['id']}": str(row["sequence"]) for row in rows}


def _of_datasets(tx: Transaction, ids: list[str]) -> dict[str, str]:
    if not ids:
        return {}
    table = datasets.c
    rows = tx.rows(sa.select(table.dataset, table.state).where(table.dataset.in_(ids)))
    return {f"datasets/{row['dataset']}": row["state"] for row in rows}


def _of_versions(tx: Transaction, ids: list[tuple[str, int]]) -> dict[str, str]:
    if not ids:
        return {}
    table = model_versions.c
    rows = tx.rows(
        sa.select(table.model, table.version, table.state).where(
            sa.tuple_(table.model, table.version).in_(ids)
        )
    )
    return {f"models/{row['model']}/versions/{row['version']}": row["state"] for row in rows}
