"""Escapes: each works without walls, none works behind them, and where one wall is missing the
other one holds or the child has said what it can do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.attacks.world import BOTH, ESCAPES, LANDLOCK, SECCOMP, World, open_world
from edgeconv.sandbox.child import Child
from edgeconv.sandbox.walls import NEWEST, Gap, Room, Walls

ENTRY = "benchmarks.attacks.escapes:try_escape"
CHECKOUT = Path(__file__).parents[3]
LIMIT_S = 30.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as opened:
        yield opened


def attempt(world: World, escape: str, room: Room | None) -> tuple[bool, Walls]:
    """Whether the escape worked, by its own word, and the walls around who tried it."""

    async def main() -> tuple[bool, Walls]:
        async with asyncio.timeout(LIMIT_S):
            async with await Child.start(ENTRY, folder=world.own, room=room) as child:
                await child.send({"escape": escape, **world.aim})
                return (await child.receive())["worked"], await child.walls()

    return asyncio.run(main())


def room(**walls: Any) -> Room:
    """A room in which the tests' own code can be read."""
    return Room(reads=(CHECKOUT,), **walls)


@pytest.mark.parametrize("escape", ESCAPES)
def test_without_walls_it_works(world: World, escape: str) -> None:
    worked, walls = attempt(world, escape, None)
    assert worked
    assert ESCAPES[escape][0] in walls.gaps


@pytest.mark.parametrize("escape", ESCAPES)
def test_behind_the_walls_it_does_not(world: World, escape: str) -> None:
    worked, walls = attempt(world, escape, room())
    assert not worked
    assert not world.traces()
    assert walls.gaps == ()


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("alone", [LANDLOCK, SECCOMP])
def test_one_wall_holds_it_or_says_that_it_does_not(world: World, escape: str, alone: str) -> None:
    gap, enough = ESCAPES[escape]
    left = room(landlock=NEWEST if alone == LANDLOCK else 0, seccomp=alone == SECCOMP)
    worked, walls = attempt(world, escape, left)
    if enough in (BOTH, alone):
        # Who owns a pipe is not told that no signal goes out.
        assert not worked or escape == "signal_by_owning_a_pipe"
        assert not world.traces()
    else:
        assert worked
        assert gap in walls.gaps
        assert gap.words in walls.warning


OF_VERSION = {
    "empty_a_file_by_its_path": (Gap.TRUNCATION, 3),
    "connect_by_tcp": (Gap.TCP, 4),
    "signal_the_parent": (Gap.SIGNALS, 6),
}
"""What Landlock alone holds from a version of its interface on."""


@pytest.mark.parametrize("escape", OF_VERSION)
def test_an_older_landlock_alone_does_not_hold_it_and_says_so(world: World, escape: str) -> None:
    gap, since = OF_VERSION[escape]
    worked, walls = attempt(world, escape, room(landlock=since - 1, seccomp=False))
    assert (worked, walls.landlock) == (True, since - 1)
    assert gap in walls.gaps
    worked, walls = attempt(world, escape, room(landlock=since, seccomp=False))
    assert (worked, walls.landlock) == (False, since)
    assert gap not in walls.gaps


@pytest.mark.parametrize("escape", [*OF_VERSION, "read_passwd", "link_a_file_in", "send_by_udp"])
def test_with_the_filter_the_oldest_landlock_is_enough(world: World, escape: str) -> None:
    worked, walls = attempt(world, escape, room(landlock=1))
    assert not worked
    assert not world.traces()
    assert (walls.landlock, walls.gaps) == (1, ())
