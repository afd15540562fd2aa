"""Databases for contract suites: SQLite in a file, and a PostgreSQL that the tests start."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

PROGRAMS = ("initdb", "pg_ctl", "postgres")
_numbers = count()


def _unprivileged() -> list[str]:
    """What to put before a command: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", str(_owner().pw_uid), "--regid", str(_owner().pw_gid),
            "--clear-groups"]  # fmt: skip


def _owner() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """A PostgreSQL of these tests alone, reached by a socket in its folder; gives its URL."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} not found: PostgreSQL is not installed")
    # Not pytest's own folder: only its owner may enter that one.
    folder = Path(tempfile.mkdtemp(prefix="edgeconv-pg-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, _owner().pw_uid, _owner().pw_gid)
        data = folder / "data"
        _call("initdb", "-D", data, "-U", "edgeconv", "-A", "trust", "--no-sync")
        settings = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=60"
        _call("pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", settings, "start")
        try:
            yield f"postgresql+psycopg://edgeconv@/postgres?host={folder}"
        finally:
            _call("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _call(*words: object) -> None:
    command = [*_unprivileged(), *map(str, words)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, timeout=60, cwd="/", check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.stderr}"


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes empty databases and gives their URLs."""

    def sqlite() -> str:
        return f"sqlite:///{tmp_path / f'{next(_numbers)}.db'}"

    if request.param == "sqlite":
        return sqlite
    cluster: str = request.getfixturevalue("cluster")

    def postgresql() -> str:
        name = f"d{next(_numbers)}"
        engine = sa.create_engine(cluster, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return cluster.replace("/postgres?", f"/{name}?")

    return postgresql
