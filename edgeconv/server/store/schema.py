"""Brings a database's tables up to date; the migrations stand beside this file.

There are two chains of them, and they only go forward. A `pre` migration adds, and the code
before it works on: a server runs what is missing when it starts. A `post` migration removes
what the code before it needed: it is run when the last server of such code has gone. Numbers
are given out over both chains, and a name that was removed is not used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason

_LOCK = 0x65646765636F6E76
"""PostgreSQL's advisory lock of whoever migrates: "edgeconv" in ASCII."""
_LOCK_WAIT_S = 300


@dataclass(frozen=True)
class Migrations:
    """The migrations that some code knows, in the order of each chain."""

    folder: Path
    pre: tuple[str, ...]
    post: tuple[str, ...] = ()

    @property
    def newest(self) -> str:
        """What tells older code from newer."""
        return max(self.pre + self.post)


OURS = Migrations(
    Path(__file__).parent / "migrations", pre=("0001", "0002", "0004", "0005", "0006")
)
"""A test holds it against the files."""


def upgrade(engine: sa.Engine, migrations: Migrations = OURS) -> None:
    """Runs the `pre` migrations that the database lacks; of two at once, one waits.

    Raises:
        EdgeconvError: DATABASE_NEWER.
    """
    with engine.connect() as connection:
        found = _revisions(connection)
    _check_not_newer(found, migrations)
    # Alembic takes a second to import: not at each start.
    if migrations.pre[-1] not in found:
        _run(engine, migrations, f"{migrations.pre[-1]}")


def finish(engine: sa.Engine, migrations: Migrations = OURS) -> bool:
    """Runs the `post` migrations, unless an executor of older code lives; whether all are done."""
    if not migrations.post:
        return True
    with engine.connect() as connection:
        if migrations.post[-1] in _revisions(connection):
            return True
        if _older_lives(connection, migrations.newest):
            return False
    # None of older code can start any more: it finds a database that is newer.
    _run(engine, migrations, migrations.post[-1])
    return True


def _run(engine: sa.Engine, migrations: Migrations, target: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations.folder))
    postgresql = engine.dialect.name == "postgresql"
    # A serializable transaction would not see what the one that it waited for has done.
    committed = engine.execution_options(isolation_level="READ COMMITTED") if postgresql else engine
    with committed.begin() as connection:
        if postgresql:
            connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_LOCK_WAIT_S}s'"))
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        found = _revisions(connection)
        _check_not_newer(found, migrations)
        if target not in found:
            config.attributes["connection"] = connection
            command.upgrade(config, target)


def _revisions(connection: sa.Connection) -> set[str]:
    """The last migration of each chain that was run."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return set()
    return set(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars())


def _older_lives(connection: sa.Connection, newest: str) -> bool:
    older = sa.text("SELECT 1 FROM executors WHERE revision < :newest LIMIT 1")
    return connection.execute(older, {"newest": newest}).first() is not None


def _check_not_newer(found: set[str], migrations: Migrations) -> None:
    unknown = found.difference(migrations.pre, migrations.post)
    if not unknown:
        return
    raise EdgeconvError(
        Reason.DATABASE_NEWER,
        f"The database was brought to {max(unknown)} by a newer edgeconv; this one knows tables"
        f" up to {migrations.newest}.",
        fix="Start the newer edgeconv on it: tables don't go back. To stay with this one, restore"
        " the backup that was made before.",
        database=max(unknown),
        known=migrations.newest,
    )
