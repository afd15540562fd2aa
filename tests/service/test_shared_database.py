"""Servers on a PostgreSQL that they share, as processes of their own."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.state_folder import read_endpoint
from edgeconv.client.aio import AsyncClient
from edgeconv.server.app import ServerSettings
from edgeconv.server.store.store import Store
from edgeconv.testing.postgresql import Cluster
from edgeconv.testing.running_server import QuickService, quick_service, running_server
from edgeconv.v1 import conversions_pb2

WATCHED_S = 2.5
"""Half of what it takes a watcher that is told nothing to look by itself, and time to look."""
ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"


@pytest.fixture
def database(cluster: Cluster) -> str:
    return cluster.new_database()


@asynccontextmanager
async def _serve(
    state: Path, *words: str, database: str = ""
) -> AsyncIterator[tuple[Process, AsyncClient]]:
    """`edgeconv serve` and a client of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edgeconv", "serve", "--json", "--state", state, *words,
        stdout=PIPE, stderr=PIPE, env={**os.environ, "EDGECONV_DATABASE": database},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        if not await process.stdout.readline():
            raise AssertionError((await process.stderr.read()).decode())
        endpoint = read_endpoint(state)
        assert endpoint is not None
        async with await AsyncClient.connect(endpoint.address, endpoint.token) as client:
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _refused(*words: str | Path, database: str = "") -> str:
    """What `edgeconv serve` says that does not start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edgeconv", "serve", *words,
        stdout=PIPE, stderr=PIPE, env={**os.environ, "EDGECONV_DATABASE": database},
    )  # fmt: skip
    said = b"".join(await process.communicate()).decode()
    assert process.returncode not in (0, None)
    return " ".join(said.split())


def test_two_servers_on_one_database_see_the_same_models_and_files(
    tmp_path: Path, database: str
) -> None:
    async def scenario() -> None:
        shared = tmp_path / "blobs"
        words = ("--blobs", str(shared))
        async with (
            _serve(tmp_path / "a", *words, "--database", database) as (_, one),
            _serve(tmp_path / "b", *words, database=database) as (_, other),
        ):
            service = QuickService(tmp_path, None, one, None)  # type: ignore[arg-type]
            name = await service.dataset("d", x=("float32", [8, 4]))
            found = await other.list_datasets()
            assert [dataset.name for dataset in found] == [name]
        assert not (tmp_path / "a" / "edgeconv.db").exists()
        assert not (tmp_path / "a" / "dispatch.db").exists()
        assert not (tmp_path / "b" / "blobs").exists()

    asyncio.run(scenario())


def test_a_conversion_goes_through_on_a_shared_database(tmp_path: Path, database: str) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, database=database, blobs=tmp_path / "blobs") as service:
            conversion, events = await service.convert(await service.model(), ONE)
            assert conversion.state == conversions_pb2.CONVERSION_STATE_SUCCEEDED
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))

    asyncio.run(scenario())


def test_a_server_that_cannot_see_the_databases_files_is_refused(
    tmp_path: Path, database: str
) -> None:
    async def scenario() -> None:
        first = ServerSettings(tmp_path / "a", database=database, blobs=tmp_path / "blobs")
        async with running_server(first):
            pass
        # Its own folder, which it would take without a word.
        with pytest.raises(EdgeconvError) as caught:
            async with running_server(ServerSettings(tmp_path / "b", database=database)):
                pass
        assert caught.value.reason is Reason.BLOBS_ELSEWHERE
        identity = (tmp_path / "blobs" / "identity").read_text().strip()
        assert identity == caught.value.metadata["expected"]
        assert str(tmp_path / "b" / "blobs") in caught.value.message
        # As the error says, for a folder that was lost.
        (tmp_path / "b" / "blobs").mkdir()
        (tmp_path / "b" / "blobs" / "identity").write_text(identity)
        async with running_server(ServerSettings(tmp_path / "b", database=database)):
            pass

    asyncio.run(scenario())


def test_a_folder_of_blobs_can_lie_elsewhere_without_a_shared_database(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, blobs=tmp_path / "blobs") as service:
            await service.dataset("d", x=("float32", [8, 4]))
        assert (tmp_path / "blobs" / "sha256").is_dir()
        with pytest.raises(EdgeconvError) as caught:
            async with quick_service(tmp_path, blobs=tmp_path / "other"):
                pass
        assert caught.value.reason is Reason.BLOBS_ELSEWHERE

    asyncio.run(scenario())


def test_a_password_is_never_said(tmp_path: Path) -> None:
    url = f"postgres://me:geheim@/none?host={tmp_path}"
    said = asyncio.run(_refused("--state", tmp_path / "state", database=url))
    assert "postgresql://me:***@/none" in said
    assert "geheim" not in said


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://me@/none?host=/nowhere&password=geheim", Reason.DATABASE_UNAVAILABLE),
        ("mysql://me:geheim@host/none", Reason.FIELD_INVALID),
        ("geheim", Reason.FIELD_INVALID),
        ("postgresql://me:geheim@host:port/none", Reason.FIELD_INVALID),
    ],
)
def test_a_url_that_is_refused_is_not_quoted(tmp_path: Path, url: str, reason: Reason) -> None:
    async def scenario() -> EdgeconvError:
        settings = ServerSettings(tmp_path / "state", database=url)
        assert "geheim" not in repr(settings)
        with pytest.raises(EdgeconvError) as caught:
            async with running_server(settings):
                pass
        return caught.value

    error = asyncio.run(scenario())
    assert error.reason is reason
    assert "geheim" not in f"{error} {error.metadata} {error.__cause__}"


def test_a_watcher_is_soon_told_what_another_server_has_changed(
    tmp_path: Path, database: str
) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, database=database, blobs=tmp_path / "blobs") as service:
            model = await service.model(gates={"reference": str(tmp_path / "never")})
            made = await service.client.create_conversion(model, recipe=ONE)
            # As another server does it: nobody in this process is told.
            other = await Store.open(database, touch=lambda _: None)
            try:
                async with aclosing(service.client.watch_conversion(made.name)) as events:
                    async for event in events:
                        if event.HasField("step_changed"):
                            break
                    began = time.monotonic()
                    await other.conversions.cancel(made.name.partition("/")[2])
                    async for event in events:
                        last = event
            finally:
                await other.close()
            assert last.state_changed.state == conversions_pb2.CONVERSION_STATE_CANCELLED
            assert time.monotonic() - began < WATCHED_S

    asyncio.run(scenario())


def test_stamps_tell_of_what_is_there_and_nothing_else(tmp_path: Path, database: str) -> None:
    async def scenario() -> None:
        async with quick_service(tmp_path, database=database, blobs=tmp_path / "blobs") as service:
            model = await service.model()
            made, events = await service.convert(model, ONE)
            data = await service.dataset("d", x=("float32", [8, 4]))
            await service.client.wait_dataset(data)
            store = await Store.open(database, touch=lambda _: None)
            try:
                names = [model, made.name, data, "conversions/none", "models/m/versions/latest"]
                assert await store.stamps.read(names) == {
                    model: "ready", made.name: str(events[-1].sequence), data: "ready",
                }  # fmt: skip
                assert await store.stamps.read([]) == {}
            finally:
                await store.close()

    asyncio.run(scenario())
