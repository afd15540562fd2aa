"""Where an agent runs, so that a copied one is told from a restarted one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forgets the agents, which come back with their next word, and adds the column."""
    op.execute("DELETE FROM agents")
    op.add_column("agents", sa.Column("place", sa.Text(), nullable=False, server_default=""))
