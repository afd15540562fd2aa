"""A PostgreSQL of the tests alone, which they may stop, freeze and start again."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import sqlalchemy as sa

PROGRAMS = ("initdb", "pg_ctl", "postgres")
_numbers = count()


def missing_programs() -> list[str]:
    """What is needed of PostgreSQL and not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


@dataclass(frozen=True)
class Cluster:
    """A cluster that is reached by a socket in its folder; everybody is let in."""

    folder: Path

    def url(self, database: str = "postgres") -> str:
        """A database's URL."""
        return f"postgresql+psycopg://edgeconv@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """Makes an empty database and gives its URL."""
        name = f"d{next(_numbers)}"
        self.tell(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_databases(self) -> None:
        """Drops all that `new_database` has made, and ends what is connected to them."""
        made = "SELECT datname FROM pg_database WHERE datname ~ '^d[0-9]+$'"
        for (name,) in self.tell(made):
            self.tell(f"DROP DATABASE {name} WITH (FORCE)")

    def tell(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Runs a statement as the cluster's owner; its rows."""
        engine = sa.create_engine(self.url(database), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                done = connection.execute(sa.text(statement))
                return [tuple(row) for row in done] if done.returns_rows else []
        finally:
            engine.dispose()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        settings = f"-k {self.folder} -c listen_addresses= -c fsync=off -c max_connections=60"
        self._pg_ctl("-w", "-l", str(self.folder / "log"), "-o", settings, "start")

    def stop(self) -> None:
        """Ends it as a crash does: what was not committed is lost."""
        self._pg_ctl("-m", "immediate", "stop")

    @property
    def processes(self) -> list[int]:
        """Its processes, the one that accepts connections first."""
        first = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def make(self) -> None:
        """Makes its files; without the disk's word for them, which tests need not wait for."""
        if os.geteuid() == 0:
            os.chown(self.folder, _owner().pw_uid, _owner().pw_gid)
        _call("initdb", "-D", self.folder / "data", "-U", "edgeconv", "-A", "trust", "--no-sync")

    def _pg_ctl(self, *words: str) -> None:
        _call("pg_ctl", "-D", self.folder / "data", *words)


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster that runs while the block does; nothing of it is left."""
    # Not pytest's own folder: only its owner may enter that one.
    folder = Path(tempfile.mkdtemp(prefix="edgeconv-pg-"))
    try:
        cluster = Cluster(folder)
        cluster.make()
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(folder)


def _call(*words: object) -> None:
    command = [*_unprivileged(), *map(str, words)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, timeout=60, cwd="/", check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.stderr}"


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
