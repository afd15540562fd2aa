"""Databases for contract suites: SQLite in a file, and a PostgreSQL that the tests start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from edgeconv.testing.postgresql import Cluster

_numbers = count()


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Makes empty databases and gives their URLs."""

    def sqlite() -> str:
        return f"sqlite:///{tmp_path / f'{next(_numbers)}.db'}"

    if request.param == "sqlite":
        yield sqlite
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    yield cluster.new_database
    # A cluster lets few connect, and pools keep what a test has not disposed of.
    cluster.drop_databases()
