"""Brings a database's tables up to date; the migrations stand beside this file."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

HEAD = "0004"
"""The newest migration. A test holds it against the files."""


def upgrade(engine: sa.Engine) -> None:
    """Runs the migrations that the database lacks."""
    if _revision(engine) == HEAD:
        # Alembic takes a second to import: not at each start.
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
