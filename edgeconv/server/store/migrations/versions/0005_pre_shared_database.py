"""What several servers on one database need."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what is true of the whole, marks of commits, and what is known of executors."""
    op.create_table(
        "installation",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_installation")),
    )
    op.create_table(
        "commit_marks",
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("create_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("mark", name=op.f("pk_commit_marks")),
    )
    # An older server, which says nothing, counts as one.
    op.add_column("executors", sa.Column("revision", sa.Text(), nullable=False, server_default=""))
    op.add_column(
        "executors", sa.Column("steady_ns", sa.BigInteger(), nullable=False, server_default="0")
    )
