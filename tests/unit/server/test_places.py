"""Who of those that wait is next."""

from __future__ import annotations

import asyncio

from edgeconv.server.engine.engine import JobKind
from edgeconv.server.engine.places import Places

KIND = JobKind.CONVERSION


def test_a_free_place_is_given_at_once_and_the_lowest_rank_is_next() -> None:
    async def scenario() -> None:
        places = Places({KIND: 1})
        first, late, early = (places.ask(KIND, rank) for rank in ("2", "3", "1"))
        assert [turn.waits for turn in (first, late, early)] == [False, True, True]
        first.leave()
        assert [turn.waits for turn in (late, early)] == [True, False]
        early.leave()
        assert not late.waits

    asyncio.run(scenario())


def test_kinds_have_places_of_their_own() -> None:
    async def scenario() -> None:
        places = Places({KIND: 1, JobKind.INSPECTION: 1})
        assert not places.ask(KIND, "1").waits
        assert not places.ask(JobKind.INSPECTION, "2").waits

    asyncio.run(scenario())


def test_who_stops_waiting_is_passed_over() -> None:
    async def scenario() -> None:
        places = Places({KIND: 1})
        held, gone, next_one = (places.ask(KIND, rank) for rank in "123")
        gone.leave()
        held.leave()
        assert not next_one.waits

    asyncio.run(scenario())


def test_leaving_twice_gives_one_place_back() -> None:
    async def scenario() -> None:
        places = Places({KIND: 1})
        held = places.ask(KIND, "1")
        held.leave()
        held.leave()
        assert not places.ask(KIND, "2").waits
        assert places.ask(KIND, "3").waits

    asyncio.run(scenario())


def test_who_is_cancelled_while_the_place_comes_gives_it_on() -> None:
    async def scenario() -> None:
        places = Places({KIND: 1})
        held, turn, next_one = (places.ask(KIND, rank) for rank in "123")
        waiting = asyncio.create_task(turn.come())
        await asyncio.sleep(0)
        held.leave()
        # It has the place now, and has not been told.
        waiting.cancel()
        await asyncio.wait([waiting])
        turn.leave()
        assert waiting.cancelled()
        assert not next_one.waits

    asyncio.run(scenario())
