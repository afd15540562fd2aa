"""Changes and progress: whoever waits is woken, and misses nothing."""

from __future__ import annotations

import asyncio

from edgeconv.server.changes import Changes
from edgeconv.server.progress import ProgressBoard


def test_a_change_after_clearing_is_not_missed() -> None:
    async def scenario() -> tuple[bool, bool]:
        changes = Changes()
        with changes.watching("a", "b") as watch:
            watch.clear()
            changes.touch(["b"])
            woken = await watch.wait(10)
            watch.clear()
            changes.touch(["c"])
            return woken, await watch.wait(0.01)

    assert asyncio.run(scenario()) == (True, False)


def test_all_who_watch_a_topic_are_woken() -> None:
    async def scenario() -> list[bool]:
        changes = Changes()
        with changes.watching("a") as one, changes.watching("a") as other:
            waiting = [asyncio.create_task(watch.wait(10)) for watch in (one, other)]
            changes.touch(["a"])
            return list(await asyncio.gather(*waiting))

    assert asyncio.run(scenario()) == [True, True]


def test_progress_gives_the_latest_word_on_each_subject_once() -> None:
    touched: list[str] = []
    board = ProgressBoard(touched.extend)
    board.say("c", "one", 0.1, "a")
    board.say("c", "one", 0.2, "b")
    board.say("c", "two", 0.5, "c")
    now = board.since("c", 0)
    assert [(each.subject, each.fraction) for each in now] == [("one", 0.2), ("two", 0.5)]
    assert board.since("c", now[-1].count) == []
    board.say("c", "two", 0.5, "c")
    assert board.since("c", now[-1].count) == []
    assert touched == ["c", "c", "c"]
    board.forget("c", "one")
    assert [each.subject for each in board.since("c", 0)] == ["two"]
    board.forget("c")
    assert board.since("c", 0) == []


def test_a_subject_whose_state_changed_is_forgotten_and_leaves_nothing_behind() -> None:
    board = ProgressBoard(lambda topics: None)
    board.say("conversions/c", "benchmarks/1", 0.1, "a")
    board.say("conversions/c", "benchmarks/2", 0.2, "b")
    board.say("conversions/d", "benchmarks/3", 0.3, "c")
    board.forget_changed(iter(["queue", "benchmarks/1", "benchmarks/3", "conversions/c"]))
    assert [each.subject for each in board.since("conversions/c", 0)] == ["benchmarks/2"]
    board.forget("conversions/c", "benchmarks/2")
    board.forget("conversions/c", "benchmarks/2")
    assert vars(board)["_latest"] == {}


def test_who_is_woken_and_cancelled_at_once_is_cancelled() -> None:
    async def scenario() -> bool:
        changes = Changes()
        with changes.watching("a") as watch:
            waiting = asyncio.create_task(watch.wait(10))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            changes.touch(["a"])
            waiting.cancel()
            await asyncio.wait([waiting])
            return waiting.cancelled()

    assert asyncio.run(scenario())
