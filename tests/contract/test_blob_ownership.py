"""One folder of blobs belongs to one database, whoever comes first and whatever is moved."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.blobs.ownership import IDENTITY_FILE, Mark, claim_folder
from edgeconv.server.store.installation import Installation
from edgeconv.server.store.store import Store


@asynccontextmanager
async def _databases(*files: Path) -> AsyncIterator[list[Installation]]:
    async with AsyncExitStack() as stack:
        stores = [
            await Store.open(f"sqlite:///{file}", touch=lambda topics: None) for file in files
        ]
        for store in stores:
            stack.push_async_callback(store.close)
        yield [store.installation for store in stores]


async def _refused(folder: Path, installation: Installation) -> EdgeconvError:
    with pytest.raises(EdgeconvError) as caught:
        await claim_folder(folder, installation)
    assert caught.value.reason is Reason.BLOBS_ELSEWHERE
    return caught.value


def test_a_folder_of_one_database_is_refused_to_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _databases(tmp_path / "a.db", tmp_path / "b.db") as (one, other):
            mark = await claim_folder(tmp_path / "blobs", one)
            assert await claim_folder(tmp_path / "blobs", one) == mark
            error = await _refused(tmp_path / "blobs", other)
            assert mark.database in error.message
            assert await other.identity() in error.message
            assert str(tmp_path / "blobs") in error.message
            # Nothing was kept of it: the other one takes a folder of its own.
            own = await claim_folder(tmp_path / "own", other)
            assert own.folder != mark.folder
            assert own.folder in (await _refused(tmp_path / "blobs", other)).fix

    asyncio.run(scenario())


def test_of_two_databases_that_begin_at_once_one_has_the_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        for number in range(20):
            folder, files = tmp_path / f"{number}", [tmp_path / f"{number}{n}.db" for n in "ab"]
            async with _databases(*files) as both:
                came = await _at_once([(folder, each) for each in both])
                marks = [each for each in came if isinstance(each, Mark)]
                refusals = [each for each in came if isinstance(each, EdgeconvError)]
                assert len(marks) == len(refusals) == 1, came
                assert (folder / IDENTITY_FILE).read_text() == f"{marks[0]}\n"
                assert [path.name for path in folder.iterdir()] == [IDENTITY_FILE]

    asyncio.run(scenario())


def test_servers_of_one_database_that_begin_at_once_agree_on_the_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        for number in range(10):
            async with _databases(*[tmp_path / f"{number}.db"] * 4) as servers:
                same = await _at_once([(tmp_path / f"{number}", each) for each in servers])
                assert len(set(map(str, same))) == 1, same
            async with _databases(*[tmp_path / f"{number}b.db"] * 2) as servers:
                places = [tmp_path / f"{number}{n}" for n in "cd"]
                came = await _at_once(list(zip(places, servers, strict=True)))
                assert sorted(type(each).__name__ for each in came) == ["EdgeconvError", "Mark"]

    asyncio.run(scenario())


async def _at_once(claims: Sequence[tuple[Path, Installation]]) -> list[Mark | BaseException]:
    return await asyncio.gather(
        *(claim_folder(folder, each) for folder, each in claims), return_exceptions=True
    )


def test_an_empty_place_is_not_made_the_folder_of_a_database_that_has_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        folder = tmp_path / "blobs"
        async with _databases(tmp_path / "a.db") as (one,):
            mark = await claim_folder(folder, one)
            # The mount is lost: what is below it shows.
            shutil.rmtree(folder)
            error = await _refused(folder, one)
            assert not folder.exists()
            assert error.metadata["expected"] == str(mark)
            # As the error says, for a folder that was lost for good.
            folder.mkdir()
            (folder / IDENTITY_FILE).write_text(f"{mark}\n")
            assert await claim_folder(folder, one) == mark

    asyncio.run(scenario())


def test_a_folder_that_was_moved_and_a_copy_of_both_are_taken(tmp_path: Path) -> None:
    async def scenario() -> None:
        state = tmp_path / "state"
        state.mkdir()
        async with _databases(state / "a.db") as (one,):
            mark = await claim_folder(state / "blobs", one)
        shutil.copytree(state, tmp_path / "copy")
        (state / "blobs").rename(tmp_path / "moved")
        async with _databases(state / "a.db", tmp_path / "copy" / "a.db") as (one, copied):
            assert await claim_folder(tmp_path / "moved", one) == mark
            assert await claim_folder(tmp_path / "copy" / "blobs", copied) == mark

    asyncio.run(scenario())


def test_a_server_that_died_between_its_marks_goes_on_with_the_folder(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _databases(tmp_path / "a.db") as (one,):
            mark = Mark("folder", await one.identity())
            (tmp_path / IDENTITY_FILE).write_text(f"{mark}\n")
            assert await claim_folder(tmp_path, one) == mark
            assert await one.known_blobs() == "folder"

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["", "folder", "folder other database", "\x00"])
def test_a_mark_that_says_something_else_is_no_mark_of_this_database(
    text: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with _databases(tmp_path / "a.db") as (one,):
            (tmp_path / IDENTITY_FILE).write_text(text)
            await _refused(tmp_path, one)
            assert (tmp_path / IDENTITY_FILE).read_text() == text

    asyncio.run(scenario())


def test_a_place_that_can_be_no_folder_is_told_as_such(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _databases(tmp_path / "a.db") as (one,):
            (tmp_path / "file").touch()
            with pytest.raises(EdgeconvError) as caught:
                await claim_folder(tmp_path / "file", one)
            assert caught.value.reason is Reason.STATE_UNWRITABLE
            assert str(tmp_path / "file") in caught.value.message

    asyncio.run(scenario())
