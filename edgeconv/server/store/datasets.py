"""Datasets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.inspection import DatasetInspection
from edgeconv.server.records import DatasetRecord, Files, files_digest
from edgeconv.server.store.blob_rows import hold
from edgeconv.server.store.database import Database, Transaction, transaction
from edgeconv.server.store.living import check_lives
from edgeconv.server.store.quota import Quota
from edgeconv.server.store.requests import Request, earlier_result, gone, remember_result
from edgeconv.server.store.tables import datasets as table


@dataclass(frozen=True)
class Datasets:
    """All datasets."""

    database: Database

    @transaction
    def create(
        self,
        tx: Transaction,
        dataset: str,
        files: Files,
        model_version: str,
        request: Request,
        quota: Quota | None = None,
    ) -> tuple[DatasetRecord, bool]:
        """A new dataset, or the one that the same call made before; whether it is new.

        Raises:
            EdgeconvError: NOT_FOUND when that one was deleted; ALREADY_EXISTS when the name is
                taken; LIMIT_REACHED when there is no room for one more to inspect;
                PART_MISSING as in `hold`.
        """
        query = sa.select(table).where(table.c.dataset == dataset)
        found = tx.row(query)
        if earlier_result(tx, request) is not None:
            if found is None:
                raise gone(f"datasets/{dataset}")
            return DatasetRecord.model_validate(found), False
        if found is not None:
            raise EdgeconvError(
                Reason.ALREADY_EXISTS,
                f"There is a dataset 'datasets/{dataset}' already.",
                fix="Delete it first, or give the new one another name.",
                name=f"datasets/{dataset}",
            )
        if quota is not None:
            quota.check(tx, table.c.state, ("inspecting",))
        hold(tx, files)
        tx.execute(
            sa.insert(table).values(
                dataset=dataset, state="inspecting",
                files=[file.model_dump(mode="json") for file in files],
                digest=files_digest(files), model_version=model_version, create_ns=tx.now_ns,
            )
        )  # fmt: skip
        remember_result(tx, request, dataset)
        row = tx.row(query)
        return DatasetRecord.model_validate(row), True

    @transaction
    def get(self, tx: Transaction, dataset: str) -> DatasetRecord | None:
        """One dataset."""
        row = tx.row(sa.select(table).where(table.c.dataset == dataset))
        return None if row is None else DatasetRecord.model_validate(row)

    @transaction
    def page(self, tx: Transaction, *, before_seq: int | None, limit: int) -> list[DatasetRecord]:
        """Datasets, newest first."""
        query = sa.select(table)
        if before_seq is not None:
            query = query.where(table.c.seq < before_seq)
        rows = tx.rows(query.order_by(table.c.seq.desc()).limit(limit))
        return [DatasetRecord.model_validate(row) for row in rows]

    @transaction
    def settle(
        self,
        tx: Transaction,
        name: str,
        executor: str,
        *,
        create_ns: int | None = None,
        inspection: DatasetInspection | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        """Ends the inspection of a dataset: READY with what was read, or REJECTED.

        Args:
            create_ns: Of the dataset that was inspected: a name may have been given to
                another one since, which is left alone then. None is whichever has the name.

        Raises:
            EdgeconvError: DECLARED_DEAD when the executor that inspected it does not live.
        """
        check_lives(tx, executor)
        meant = sa.and_(table.c.dataset == name.split("/")[1], table.c.state == "inspecting")
        if create_ns is not None:
            meant = sa.and_(meant, table.c.create_ns == create_ns)
        tx.execute(
            sa.update(table)
            .where(meant)
            .values(
                state="ready" if error is None else "rejected",
                inspection=inspection and inspection.model_dump(mode="json"),
                error=error,
            )
        )
        tx.changed.add(name)

    @transaction
    def delete(self, tx: Transaction, dataset: str) -> bool:
        """Forgets a dataset; whether there was one."""
        tx.changed.add(f"datasets/{dataset}")
        return tx.execute(sa.delete(table).where(table.c.dataset == dataset)).rowcount == 1

    @transaction
    def inspecting(self, tx: Transaction, *, model_version: str = "") -> list[str]:
        """Names of the datasets whose inspection has not ended; of all, or those of a model."""
        query = sa.select(table.c.dataset).where(table.c.state == "inspecting")
        if model_version:
            query = query.where(table.c.model_version == model_version)
        return [f"datasets/{row['dataset']}" for row in tx.rows(query.order_by(table.c.seq))]
