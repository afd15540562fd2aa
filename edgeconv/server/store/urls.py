"""Which database a server works on, and how that is said without its password."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason

_POSTGRESQL = ("postgresql", "postgresql+psycopg")
_SECRETS = ("password", "sslpassword")
_HIDDEN = "***"


def database_url(database: str, embedded: Path) -> sa.URL:
    """The URL of a server's database.

    Args:
        database: URL of a PostgreSQL, or empty.
        embedded: The file that holds the database where no other one is named.

    Raises:
        EdgeconvError: FIELD_INVALID; the URL is not quoted, for it may hold a password.
    """
    if not database:
        return sa.URL.create("sqlite", database=str(embedded))
    try:
        url = sa.make_url(database)
    except (sa.exc.ArgumentError, ValueError):
        raise _refused("it is no URL") from None
    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    if url.drivername not in _POSTGRESQL:
        raise _refused(f"{url.drivername!r} is no database that several servers can share")
    return with_driver(url)


def with_driver(url: str | sa.URL) -> sa.URL:
    """A URL with the driver that edgeconv comes with."""
    known = sa.make_url(url)
    return known.set(drivername="postgresql+psycopg") if known.drivername == "postgresql" else known


def shown(url: sa.URL) -> str:
    """A URL for messages and logs: without its password, wherever that stands."""
    hidden = {key: _HIDDEN for key in _SECRETS if key in url.query}
    plain = url.set(drivername=url.get_backend_name()).update_query_dict(hidden)
    return plain.render_as_string(hide_password=True)


def _refused(why: str) -> EdgeconvError:
    message = f"The database can't be used: {why}."
    return EdgeconvError(
        Reason.FIELD_INVALID,
        message,
        fix="Write it as postgresql://USER@HOST:PORT/NAME; without one the server keeps its own"
        " database in the state folder.",
        violations=[FieldViolation("database", message)],
    )
