"""When each blob was touched last, what was used when, and which conversions lost their files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_FILES: tuple[tuple[str, str], ...] = (
    ("model_versions", "files"), ("datasets", "files"), ("steps", "output"),
    ("conversions", "inputs"), ("variants", "files"), ("benchmarks", "files"),
    ("benchmarks", "samples"), ("benchmarks", "outputs"), ("benchmark_files", "file"),
)  # fmt: skip


def upgrade() -> None:
    """Adds the table and the columns; every blob that a row refers to gets its own row."""
    blobs = op.create_table(
        "blobs",
        sa.Column("digest", sa.Text(), primary_key=True, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("touched_ns", sa.BigInteger(), nullable=False),
    )
    for table, column in (
        ("steps", "used_ns"), ("conversions", "used_ns"), ("conversions", "collected_ns"),
    ):  # fmt: skip
        op.add_column(table, sa.Column(column, sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE steps SET used_ns = changed_ns")
    op.execute("UPDATE conversions SET used_ns = end_ns")
    rows = [
        {"digest": digest, "size_bytes": size, "touched_ns": 0}
        for digest, size in sorted(dict(_referred(op.get_bind())).items())
    ]
    if rows:
        op.bulk_insert(blobs, rows)


def _referred(connection: sa.Connection) -> Iterator[tuple[str, int]]:
    for row in connection.execute(sa.text("SELECT digest, size_bytes FROM blob_senders")):
        yield row[0], row[1]
    for table, column in _FILES:
        query = sa.text(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL")
        for (value,) in connection.execute(query):
            for file in _files(json.loads(value) if isinstance(value, str) else value):
                for part in file["parts"]:
                    yield part["digest"], part["size_bytes"]


def _files(value: Any) -> Iterator[dict[str, Any]]:
    """The files in a column: a list of them, one, what has `files`, or such by role."""
    if isinstance(value, list):
        yield from value
    elif value is None:
        return
    elif "parts" in value:
        yield value
    elif "files" in value:
        yield from value["files"]
    else:
        for each in value.values():
            yield from each["files"]
