"""Run by alembic: gives it the connection that `store.schema` made."""

from __future__ import annotations

from alembic import context

from edgeconv.server.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
