"""How a database's tables come up to date, on every database."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.store import schema
from edgeconv.server.store.connections import TimeLimits, connected
from edgeconv.server.store.schema import OURS, Migrations
from edgeconv.server.store.store import Store
from edgeconv.server.store.tables import metadata

FIRST = Migrations(OURS.folder, pre=("0001",))
LIMITS = TimeLimits()

ADDS = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "0098", "{before}", None, None
def upgrade():
    op.add_column("devices", sa.Column("colour", sa.Text(), nullable=False, server_default="blue"))
    op.create_table("paints", sa.Column("name", sa.Text(), primary_key=True))
"""
REMOVES = """
from alembic import op
revision, down_revision, branch_labels, depends_on = "0099", None, None, None
def upgrade():
    op.drop_column("devices", "held_reason")
"""


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
def later(tmp_path: Path) -> Migrations:
    """The migrations of a later edgeconv, which adds, and removes."""
    folder = tmp_path / "later"
    shutil.copytree(OURS.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0098_pre.py").write_text(ADDS.format(before=OURS.pre[-1]))
    (folder / "versions" / "0099_post.py").write_text(REMOVES)
    return Migrations(folder, pre=(*OURS.pre, "0098"), post=("0099",))


def _differences(engine: sa.Engine) -> list[object]:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))


def _columns(engine: sa.Engine, table: str) -> set[str]:
    return {column["name"] for column in sa.inspect(engine).get_columns(table)}


def test_the_migrations_that_are_named_are_those_that_are_there() -> None:
    files = (OURS.folder / "versions").glob("0*.py")
    assert sorted(file.name[:4] for file in files) == sorted(OURS.pre + OURS.post)


def test_migrations_make_exactly_the_tables_that_the_code_uses(url: str) -> None:
    engine = connected(url, LIMITS)
    schema.upgrade(engine)
    assert schema.finish(engine)
    assert _differences(engine) == []
    schema.upgrade(engine)
    engine.dispose()


def test_a_database_of_the_first_tables_keeps_its_rows(url: str) -> None:
    engine = connected(url, LIMITS)
    schema.upgrade(engine, FIRST)
    with engine.begin() as connection:
        connection.execute(
            sa.text("INSERT INTO executors (executor, heartbeat_ns) VALUES ('old', 7)")
        )
        connection.execute(
            sa.text(
                "INSERT INTO model_versions (model, version, state, files, digest, create_ns,"
                " deleted) VALUES ('m', 1, 'inspecting', '[]', 'd', 5, false)"
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO agents (agent, incarnation, version, last_seen_ns)"
                " VALUES ('a', '1', '0', 3)"
            )
        )
    assert _differences(engine) != []

    async def opened() -> None:
        store = await Store.open(url, touch=lambda _: None)
        try:
            assert await store.models.inspecting() == ["models/m/versions/1"]
            found = await store.models.get("m", 1)
            assert found is not None
            assert (found.digest, found.create_ns) == ("d", 5)
            assert await store.executors.dead_among(["old", "new"]) == {"new"}
        finally:
            await store.close()

    asyncio.run(opened())
    assert _differences(engine) == []
    engine.dispose()


def test_of_two_that_start_at_once_one_migrates_and_both_go_on(url: str) -> None:
    engines = [connected(url, LIMITS) for _ in range(4)]
    together = threading.Barrier(len(engines))

    def start(engine: sa.Engine) -> None:
        with engine.connect():
            together.wait()
        schema.upgrade(engine)

    with ThreadPoolExecutor(len(engines)) as threads:
        for done in [threads.submit(start, engine) for engine in engines]:
            done.result()
    assert _differences(engines[0]) == []
    for engine in engines:
        engine.dispose()


def _upgrade_in_a_process(url: str, folder: Path) -> int:
    code = (
        "import sys; from pathlib import Path\n"
        "from edgeconv.server.store import schema\n"
        "from edgeconv.server.store.connections import TimeLimits, connected\n"
        "later = schema.Migrations(Path(sys.argv[2]), pre=(*schema.OURS.pre, '0098'))\n"
        "schema.upgrade(connected(sys.argv[1], TimeLimits()), later)\n"
    )
    return subprocess.run([sys.executable, "-c", code, url, str(folder)], check=False).returncode


def test_a_server_that_is_killed_in_a_migration_leaves_the_tables_as_they_were(
    url: str, later: Migrations
) -> None:
    engine = connected(url, LIMITS)
    schema.upgrade(engine)
    script = later.folder / "versions" / "0098_pre.py"
    dies = script.read_text() + "    import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    script.write_text(dies)
    assert _upgrade_in_a_process(url, later.folder) == -signal.SIGKILL
    assert _differences(engine) == []
    script.write_text(ADDS.format(before=OURS.pre[-1]))
    assert _upgrade_in_a_process(url, later.folder) == 0
    assert "colour" in _columns(engine, "devices")
    engine.dispose()


def test_a_database_that_is_newer_is_refused_with_what_to_do(url: str, later: Migrations) -> None:
    engine = connected(url, LIMITS)
    schema.upgrade(engine, later)
    with pytest.raises(EdgeconvError) as caught:
        asyncio.run(Store.open(url, touch=lambda _: None))
    assert caught.value.reason is Reason.DATABASE_NEWER
    assert caught.value.metadata == {"database": "0098", "known": OURS.newest}
    assert "newer edgeconv" in caught.value.fix
    engine.dispose()


def test_what_older_servers_need_is_removed_when_the_last_of_them_has_gone(
    url: str, later: Migrations
) -> None:
    engine = connected(url, LIMITS)

    async def older() -> None:
        store = await Store.open(url, touch=lambda _: None)
        try:
            await store.executors.enter("older")
        finally:
            await store.close()

    asyncio.run(older())
    schema.upgrade(engine, later)
    assert {"colour", "held_reason"} < _columns(engine, "devices")
    assert not schema.finish(engine, later)
    assert "held_reason" in _columns(engine, "devices")
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM executors"))
    assert schema.finish(engine, later)
    assert "held_reason" not in _columns(engine, "devices")
    assert schema.finish(engine, later)
    schema.upgrade(engine, later)
    engine.dispose()


def test_a_database_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://me:geheim@/edgeconv?host={tmp_path}&sslpassword=auch"
    with pytest.raises(EdgeconvError) as caught:
        asyncio.run(Store.open(url, touch=lambda _: None))
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert "postgresql://me:***@/edgeconv" in caught.value.message
    for secret in ("geheim", "auch"):
        assert secret not in f"{caught.value} {caught.value.metadata}"
