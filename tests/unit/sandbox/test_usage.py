"""What children take of disk, files and threads: seen from outside, and ended beyond a limit."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.sandbox.child import Child
from edgeconv.sandbox.limits import Limits
from edgeconv.sandbox.usage import Usage, count_threads, measure

ENTRIES = "tests.unit.sandbox.greedy_children"
LIMIT_S = 30.0
MIB = 1 << 20
SMALL = Limits(disk_bytes=2 * MIB, files=200, depth=20, threads=40)


def ended(folder: Path, entry: str) -> EdgeconvError:
    """What a watched child is ended with that waits for nothing."""

    async def main() -> EdgeconvError:
        async with asyncio.timeout(LIMIT_S):
            child = await Child.start(f"{ENTRIES}:{entry}", folder=folder, limits=SMALL)
            async with child:
                child.watch()
                with pytest.raises(EdgeconvError) as caught:
                    await _hear(child)
                assert not child.alive
                return caught.value

    return asyncio.run(main())


async def _hear(child: Child) -> None:
    while True:
        await child.receive()


@pytest.mark.parametrize(
    ("entry", "limit", "words"),
    [
        ("write_many", "disk", "more than 2 MiB of disk"),
        ("hold_nameless", "disk", "more than 2 MiB of disk"),
        ("hold_memory", "disk", "more than 2 MiB of disk"),
        ("end_the_first_thread", "disk", "more than 2 MiB of disk"),
        ("hide_in_a_folder", "disk", "more than 2 MiB of disk"),
        ("make_files", "files", "more than 200 files"),
        ("dig", "depth", "more than 20 folders within each other"),
        ("make_threads", "threads", "more than 40 threads"),
    ],
)
def test_a_child_that_takes_too_much_is_ended_with_the_limit_named(
    tmp_path: Path, entry: str, limit: str, words: str
) -> None:
    error = ended(tmp_path, entry)
    assert error.reason is Reason.LIMIT_EXCEEDED
    assert words in error.message
    assert error.metadata["limit"] == limit


def test_blocks_count_and_not_sizes_and_a_file_of_many_names_counts_once(tmp_path: Path) -> None:
    async def main() -> Usage:
        async with asyncio.timeout(LIMIT_S):
            async with await Child.start(f"{ENTRIES}:sparse", folder=tmp_path) as child:
                child.watch()
                await child.receive()
                return await child.look()

    usage = asyncio.run(main())
    assert 64 * 1024 <= usage.disk_bytes < MIB
    assert (usage.files, usage.depth) == (44, 2)
    assert 1 <= usage.threads < 100


def test_a_look_raises_at_once_and_ends_the_child(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(LIMIT_S):
            entry = f"{ENTRIES}:make_files"
            async with await Child.start(entry, folder=tmp_path, limits=SMALL) as child:
                await child.receive()
                with pytest.raises(EdgeconvError, match="more than 200 files"):
                    await child.look()
                assert not child.alive

    asyncio.run(main())


def test_a_look_ends_at_the_limit_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for number in range(50):
        (tmp_path / "beside").mkdir(exist_ok=True)
        (tmp_path / "beside" / str(number)).touch()
        (tmp_path / "own" / str(number)).touch()
    (tmp_path / "own" / "link").symlink_to(tmp_path / "beside")
    (tmp_path / "linked").symlink_to(tmp_path / "own")
    assert measure(os.getpid(), tmp_path / "own", Limits()).files >= 51
    assert measure(os.getpid(), tmp_path / "own", Limits(files=10)).files == 11
    assert measure(os.getpid(), tmp_path / "linked", Limits()).depth == 0


def _looks_into_hidden(folder: str) -> bool:
    """Whether a user without rights of root's looks into a folder that can't be listed."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    hidden = Path(folder, "hidden")
    hidden.mkdir(0o300)
    (hidden / "file").touch()
    with pytest.raises(PermissionError):
        os.listdir(hidden)  # noqa: PTH208
    return measure(os.getpid(), Path(folder), Limits()).depth == 2


def test_a_folder_that_its_owner_may_not_list_is_looked_into() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        if not (process := os.fork()):
            status = 1
            try:
                status = 0 if _looks_into_hidden(folder) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def test_who_is_gone_takes_nothing(tmp_path: Path) -> None:
    assert count_threads(2**22 + 1) == 0
    assert measure(2**22 + 1, tmp_path / "gone", Limits()) == Usage()
