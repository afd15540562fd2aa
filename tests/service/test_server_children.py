"""Job children: started ahead, kept for their model, ended when idle."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.sandbox.walls import Room
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.jobs.children import MAX_JOBS_OF_A_CHILD, MAX_KEPT, Children
from edgeconv.server.jobs.job_child import Bundle, JobChild, StepOrder
from edgeconv.server.records import files_digest
from edgeconv.testing.quick_steps import ENTRY, write_quick_model


@asynccontextmanager
async def _children(folder: Path, **more: Any) -> AsyncIterator[Children]:
    blobs, room = Blobs.local(folder / "blobs"), Room(writes=(folder,))
    children = Children(folder / "scratch", blobs, entry=ENTRY, room=room, **more)
    try:
        yield children
    finally:
        await children.close()
        assert not any((folder / "scratch").iterdir())


def _bundle(folder: Path, **said: Any) -> Bundle:
    path = write_quick_model(folder / "model.json", **said)
    with path.open("rb") as stream:
        file = Blobs.local(folder / "blobs").put_file(stream, path.name, max_bytes=10**6)
    return Bundle((file,), files_digest((file,)), {})


def _inspect(bundle: Bundle) -> StepOrder:
    return StepOrder("inspect", "inspect", {}, 0, {"source": bundle})


def _say_nothing(fraction: float, message: str) -> None:
    pass


def _runs(child: JobChild) -> bool:
    return Path(f"/proc/{child.pid}").exists()


def test_the_child_that_was_started_ahead_is_taken_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _children(tmp_path) as children:
            await children.prepare()
            await children.prepare()
            (folder,) = (tmp_path / "scratch").iterdir()
            first = await children.take("model")
            assert [*(tmp_path / "scratch").iterdir()] == [folder]
            second = await children.take("model")
            assert second.pid != first.pid
            await children.end(first)
            await children.end(second)

    asyncio.run(scenario())


@pytest.mark.parametrize("left", ["nothing", "another file"])
def test_a_child_whose_lock_file_was_removed_is_used_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    locks = tmp_path / "locks"
    locks.mkdir()
    locks.chmod(0o1777)
    monkeypatch.setattr("edgeconv.bench.lock._FOLDERS", (locks,))

    async def scenario() -> None:
        async with _children(tmp_path) as children:
            child = await children.take("model")
            await children.give_back(child, "model")
            assert await children.take("model") is child
            for lock in [*locks.iterdir()]:
                # The old one is kept, or the new one might get its number.
                lock.rename(tmp_path / f"{lock.name}.old")
                if left == "another file":
                    lock.touch()
            assert not child.alive
            await children.give_back(child, "model")
            assert not _runs(child)
            other = await children.take("model")
            await other.run(_inspect(_bundle(tmp_path)), _say_nothing)
            assert other.alive
            await children.end(other)

    asyncio.run(scenario())


def test_a_child_is_kept_for_its_model_and_sees_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _children(tmp_path) as children:
            mine = await children.take("model")
            await children.give_back(mine, "model")
            other = await children.take("other model")
            assert other is not mine
            assert await children.take("model", from_ahead=False) is mine
            await children.end(mine)
            await children.end(other)

    asyncio.run(scenario())


def test_the_one_started_ahead_is_left_for_who_needs_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _children(tmp_path) as children:
            await children.prepare()
            (folder,) = (tmp_path / "scratch").iterdir()
            plain = await children.take("", from_ahead=False)
            assert len([*(tmp_path / "scratch").iterdir()]) == 2
            ahead = await children.take("model")
            await children.end(plain)
            assert [*(tmp_path / "scratch").iterdir()] == [folder]
            plain = await children.take("", from_ahead=False)
            assert plain is not ahead
            assert len([*(tmp_path / "scratch").iterdir()]) == 2
            await children.end(plain)
            await children.end(ahead)

    asyncio.run(scenario())


def test_no_more_are_kept_than_allowed_and_none_for_ever(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _children(tmp_path, idle_s=0.0) as children:
            taken = [await children.take(f"model{n}") for n in range(MAX_KEPT + 1)]
            for number, child in enumerate(taken):
                await children.give_back(child, f"model{number}")
            assert [_runs(child) for child in taken] == [False] + [True] * MAX_KEPT
            await children.sweep(quiet=False)
            assert not any(_runs(child) for child in taken)

    asyncio.run(scenario())


def test_a_child_does_only_so_many_jobs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _children(tmp_path) as children:
            first = await children.take("model")
            child = first
            for _ in range(MAX_JOBS_OF_A_CHILD - 1):
                await children.give_back(child, "model")
                child = await children.take("model")
                assert child is first
            await children.give_back(child, "model")
            assert not _runs(first)

    asyncio.run(scenario())


def test_the_next_child_is_started_while_there_is_work_and_nothing_to_disturb(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with _children(tmp_path, rest_s=0.0) as children:
            (tmp_path / "scratch").mkdir()
            await children.sweep(quiet=True)
            assert not any((tmp_path / "scratch").iterdir())
            await children.give_back(await children.take("model"), "model")
            await children.sweep(quiet=False)
            assert len([*(tmp_path / "scratch").iterdir()]) == 1
            await children.sweep(quiet=True)
            await children.sweep(quiet=True)
            assert len([*(tmp_path / "scratch").iterdir()]) == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("rest_s", [0.0, 60.0])
def test_none_is_started_ahead_beside_one_that_works_or_has_just_worked(
    rest_s: float, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with _children(tmp_path, rest_s=rest_s) as children:
            child = await children.take("model")
            await children.prepare()
            assert len([*(tmp_path / "scratch").iterdir()]) == 1
            await children.give_back(child, "model")
            await children.prepare()
            assert len([*(tmp_path / "scratch").iterdir()]) == (1 if rest_s else 2)

    asyncio.run(scenario())


def test_a_child_that_died_is_not_handed_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _children(tmp_path) as children:
            bundle = _bundle(tmp_path, steps={"inspect": "crash"})
            child = await children.take("model")
            with pytest.raises(EdgeconvError) as caught:
                await child.run(_inspect(bundle), _say_nothing)
            assert caught.value.reason is Reason.CHILD_DIED
            assert "status 7" in caught.value.message
            await children.give_back(child, "model")
            fresh = await children.take("model")
            assert fresh.pid != child.pid
            await children.end(fresh)

    asyncio.run(scenario())


def test_a_warm_child_does_steps_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _children(tmp_path) as children:
            child = await children.take("model")
            child.warm()
            child.warm()
            said: list[str] = []
            files, done = await child.run(
                _inspect(_bundle(tmp_path)), lambda _, message: said.append(message)
            )
            assert (files, said) == ((), ["at inspect"])
            assert done["facts"]["inspection"]["format"] == "onnx"
            await children.end(child)
            assert not _runs(child)

    asyncio.run(scenario())


@pytest.mark.parametrize("call", ["give back", "end"])
def test_a_caller_that_goes_meanwhile_leaves_no_child_behind(tmp_path: Path, call: str) -> None:
    async def scenario() -> None:
        async with _children(tmp_path) as children:
            child = await children.take("model")
            # Another one is being started: whoever gives back has to wait for its turn.
            other = asyncio.create_task(children.take("other model"))
            await asyncio.sleep(0)
            asked = children.give_back(child, "model") if call == "give back" else None
            going = asyncio.create_task(asked or children.end(child))
            await asyncio.sleep(0)
            going.cancel()
            await asyncio.wait([going])
            assert going.cancelled()
            await children.end(await other)
            if call == "give back":
                assert await children.take("model", from_ahead=False) is child
                await children.end(child)
            while _runs(child) or any((tmp_path / "scratch").iterdir()):
                await asyncio.sleep(0.01)

    async def whole() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(whole())


def test_a_dead_child_does_not_count_as_started_ahead(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _children(tmp_path, rest_s=0.0) as children:
            await children.prepare()
            (dead,) = (tmp_path / "scratch").iterdir()
            first = await children.take("")
            await children.give_back(first, "")
            os.kill(first.pid, signal.SIGKILL)
            async with asyncio.timeout(20):
                while first.alive:
                    await asyncio.sleep(0.01)
            await children.prepare()
            (folder,) = (tmp_path / "scratch").iterdir()
            assert folder != dead
            ready = await children.take("model")
            assert [*(tmp_path / "scratch").iterdir()] == [folder]
            await children.end(ready)

    asyncio.run(scenario())
