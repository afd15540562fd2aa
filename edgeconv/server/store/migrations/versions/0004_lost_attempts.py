"""Who runs the attempt at a conversion, and how many in a row were lost with their server."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; what runs while this is done has no known executor."""
    op.add_column(
        "conversions", sa.Column("executor", sa.Text(), nullable=False, server_default="")
    )
    op.add_column(
        "conversions",
        sa.Column("lost_attempts", sa.BigInteger(), nullable=False, server_default="0"),
    )
