"""Model versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from edgeconv.recipe.inspection import Inspection
from edgeconv.server.records import Files, ModelVersionRecord, files_digest
from edgeconv.server.store.blob_rows import hold
from edgeconv.server.store.database import Database, Transaction, transaction
from edgeconv.server.store.living import check_lives
from edgeconv.server.store.quota import Quota
from edgeconv.server.store.requests import Request, earlier_result, gone, remember_result
from edgeconv.server.store.tables import model_versions as table


@dataclass(frozen=True)
class ModelVersions:
    """The versions of all models."""

    database: Database

    @transaction
    def create(
        self,
        tx: Transaction,
        model: str,
        files: Files,
        request: Request,
        quota: Quota | None = None,
    ) -> tuple[ModelVersionRecord, bool]:
        """A new version, or the one that the same call made before; whether it is new.

        Raises:
            EdgeconvError: NOT_FOUND when that one was deleted; LIMIT_REACHED when there is no
                room for one more to inspect; PART_MISSING as in `hold`.
        """
        if earlier := earlier_result(tx, request):
            found = tx.row(sa.select(table).where(table.c.seq == int(earlier)))
            if found is None:
                raise gone(f"models/{model}")
            if found["deleted"]:
                raise gone(f"models/{model}/versions/{found['version']}")
            return _record(found), False
        if quota is not None:
            quota.check(tx, table.c.state, ("inspecting",))
        hold(tx, files)
        newest = tx.execute(
            sa.select(sa.func.max(table.c.version)).where(table.c.model == model)
        ).scalar()
        seq = tx.execute(
            sa.insert(table).returning(table.c.seq).values(
                model=model, version=(newest or 0) + 1, state="inspecting",
                files=[file.model_dump(mode="json") for file in files],
                digest=files_digest(files), create_ns=tx.now_ns, deleted=False,
            )
        ).scalar_one()  # fmt: skip
        remember_result(tx, request, str(seq))
        row = tx.row(sa.select(table).where(table.c.seq == seq))
        assert row is not None
        return _record(row), True

    @transaction
    def get(self, tx: Transaction, model: str, version: int | None) -> ModelVersionRecord | None:
        """One version; None for `version` is the newest one."""
        query = sa.select(table).where(table.c.model == model, sa.not_(table.c.deleted))
        if version is not None:
            query = query.where(table.c.version == version)
        row = tx.row(query.order_by(table.c.version.desc()).limit(1))
        return None if row is None else _record(row)

    @transaction
    def page(
        self, tx: Transaction, model: str, *, before_seq: int | None, limit: int
    ) -> list[ModelVersionRecord]:
        """Versions, newest first; an empty `model` is all models."""
        query = sa.select(table).where(sa.not_(table.c.deleted))
        if model:
            query = query.where(table.c.model == model)
        if before_seq is not None:
            query = query.where(table.c.seq < before_seq)
        rows = tx.rows(query.order_by(table.c.seq.desc()).limit(limit))
        return [_record(row) for row in rows]

    @transaction
    def was_made(self, tx: Transaction, model: str) -> bool:
        """Whether the model ever had a version, be it forgotten since."""
        return tx.row(sa.select(table.c.seq).where(table.c.model == model).limit(1)) is not None

    @transaction
    def settle(
        self,
        tx: Transaction,
        name: str,
        executor: str,
        *,
        inspection: Inspection | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        """Ends the inspection of a version: READY with what was read, or REJECTED.

        Raises:
            EdgeconvError: DECLARED_DEAD when the executor that inspected it does not live.
        """
        check_lives(tx, executor)
        _, model, _, version = name.split("/")
        tx.execute(
            sa.update(table)
            .where(
                table.c.model == model,
                table.c.version == int(version),
                table.c.state == "inspecting",
            )
            .values(
                state="ready" if error is None else "rejected",
                inspection=inspection and inspection.model_dump(mode="json"),
                error=error,
            )
        )
        tx.changed.add(name)

    @transaction
    def delete(self, tx: Transaction, model: str, version: int) -> bool:
        """Forgets a version; its number is never given again. Whether there was one."""
        done = tx.execute(
            sa.update(table)
            .where(
                table.c.model == model, table.c.version == version, sa.not_(table.c.deleted)
            )
            .values(deleted=True)
        )  # fmt: skip
        tx.changed.add(f"models/{model}/versions/{version}")
        return done.rowcount == 1

    @transaction
    def inspecting(self, tx: Transaction) -> list[str]:
        """Names of the versions whose inspection has not ended."""
        rows = tx.rows(
            sa.select(table.c.model, table.c.version)
            .where(table.c.state == "inspecting", sa.not_(table.c.deleted))
            .order_by(table.c.seq)
        )
        return [f"models/{row['model']}/versions/{row['version']}" for row in rows]


def _record(row: dict[str, Any]) -> ModelVersionRecord:
    return ModelVersionRecord.model_validate({k: v for k, v in row.items() if k != "deleted"})
