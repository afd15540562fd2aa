"""What a child says of its walls, and what it can still do behind them."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.sandbox.child import Child
from edgeconv.sandbox.probe import walls_here
from edgeconv.sandbox.walls import LANDLOCK, LIMITS, SECCOMP, Gap, Room, Walls

ENTRIES = "tests.unit.sandbox.bad_children"
CHECKOUT = Path(__file__).parents[3]
LIMIT_S = 60.0

walls = st.builds(
    Walls,
    landlock=st.integers(0, 9),
    seccomp=st.booleans(),
    reasons=st.dictionaries(st.sampled_from([LANDLOCK, SECCOMP]), st.text()),
)


def answer(folder: Path, entry: str, room: Room, *messages: dict[str, Any]) -> Any:
    """A child's walls and its first message."""

    async def main() -> Any:
        async with asyncio.timeout(LIMIT_S):
            async with await Child.start(f"{ENTRIES}:{entry}", folder=folder, room=room) as child:
                for message in messages:
                    await child.send(message)
                return await child.walls(), await child.receive()

    return asyncio.run(main())


@given(walls)
def test_walls_come_through_the_channel(standing: Walls) -> None:
    assert Walls.from_json(standing.to_json()) == standing


@pytest.mark.parametrize("said", [{}, {"landlock": 1}, [], {"landlock": [], "reasons": {}}, None])
def test_nonsense_about_walls_is_told(said: Any) -> None:
    with pytest.raises(ValueError, match="walls"):
        Walls.from_json(said)


@given(walls)
def test_a_newer_landlock_opens_no_gap_and_a_filter_closes_some(standing: Walls) -> None:
    newer = Walls(standing.landlock + 1, standing.seccomp)
    assert set(newer.gaps) <= set(standing.gaps)
    if not standing.seccomp:
        assert set(Walls(standing.landlock, True).gaps) < set(standing.gaps)
    assert (not standing.gaps) == (standing.landlock > 0 and standing.seccomp)
    assert bool(standing.warning) == bool(standing.gaps)


def test_without_any_wall_every_gap_is_named() -> None:
    whys = {LANDLOCK: "Function not implemented", SECCOMP: "Invalid argument", LIMITS: "None"}
    bare = Walls(reasons=whys)
    assert set(bare.gaps) == set(Gap)
    assert bare.warning.startswith("Without Landlock (Function not implemented) and seccomp (Inv")
    assert all(gap.words in bare.warning for gap in Gap)


def test_limits_that_can_not_be_set_are_a_gap_and_no_end(tmp_path: Path) -> None:
    async def main() -> Walls:
        async with asyncio.timeout(LIMIT_S):
            refusing = (sys.executable, str(Path(__file__).with_name("refuse_limits.py")))
            child = await Child.start(
                f"{ENTRIES}:echo", folder=tmp_path, room=Room(reads=(CHECKOUT,)),
                python=(*refusing, sys.executable),
            )  # fmt: skip
            async with child:
                await child.send({"alive": True})
                assert await child.receive() == {"alive": True}
                return await child.walls()

    standing = asyncio.run(main())
    assert standing.gaps == (Gap.RESOURCES,)
    assert standing.landlock
    assert standing.seccomp
    for limit in ("memory", "size of files", "open files"):
        assert limit in standing.warning
    assert "take more memory" in standing.warning


def test_a_child_without_a_room_has_no_walls(tmp_path: Path) -> None:
    async def main() -> Walls:
        async with await Child.start(f"{ENTRIES}:echo", folder=tmp_path) as child:
            return await child.walls()

    assert asyncio.run(main()) == Walls()


def test_a_wall_that_is_not_built_is_named_with_its_reason() -> None:
    found = asyncio.run(walls_here(Room(landlock=0)))
    assert (found.landlock, found.seccomp) == (0, True)
    assert found.reasons == {LANDLOCK: "switched off"}
    found = asyncio.run(walls_here(Room(seccomp=False)))
    assert (found.landlock > 0, found.seccomp) == (True, False)
    assert found.reasons == {SECCOMP: "switched off"}


def test_a_wall_that_the_kernel_refuses_is_named_with_its_reason(tmp_path: Path) -> None:
    # Landlock is built with descriptors, of which that child has none left.
    seen, said = answer(tmp_path, "enclose_again", Room(reads=(CHECKOUT,)))
    assert seen.reasons == {}
    again = Walls.from_json(said["walls"])
    assert again.landlock == 0
    assert again.reasons[LANDLOCK] == "Too many open files"


def test_the_walls_can_be_asked_for_while_a_message_is_awaited(tmp_path: Path) -> None:
    async def main() -> None:
        entry, room = f"{ENTRIES}:echo", Room(reads=(CHECKOUT,))
        async with await Child.start(entry, folder=tmp_path, room=room) as child:
            waiting = asyncio.create_task(child.receive())
            assert (await child.walls()).warning == ""
            await child.send({"n": 1})
            assert await waiting == {"n": 1}
            assert await child.walls() == await child.walls()

    asyncio.run(main())


def test_a_child_that_says_no_word_about_its_walls_is_ended(tmp_path: Path) -> None:
    async def main() -> None:
        # The channel's descriptors stand after the words that start the module.
        line = """import os, signal, sys
os.write(int(sys.argv[5]), b'{"walls": 3}\\n')
signal.pause()"""
        python = (sys.executable, "-c", line)
        async with await Child.start("none:none", folder=tmp_path, python=python) as child:
            with pytest.raises(EdgeconvError, match="no word about its walls"):
                await child.receive()
            assert not child.alive

    asyncio.run(main())


def test_a_thread_that_runs_already_is_no_thread_behind_landlock(tmp_path: Path) -> None:
    room = Room(reads=(CHECKOUT,), landlock=0)
    _, said = answer(tmp_path, "enclose_beside_a_thread", room)
    assert Walls.from_json(said["walls"]).reasons[LANDLOCK] == "1 other threads run already"


@pytest.mark.parametrize("versions", [1, 2, 1_000])
def test_work_goes_on_behind_the_walls(tmp_path: Path, versions: int) -> None:
    shared, given = tmp_path / "shared", tmp_path / "given"
    own = tmp_path / "own"
    for folder in (shared, given, own):
        folder.mkdir()
    (given / "model").write_text("weights")
    room = Room(reads=(CHECKOUT, given), writes=(shared,), landlock=versions)
    seen, said = answer(own, "work", room, {"given": str(given), "shared": str(shared)})
    assert seen.warning == ""
    assert said["faults"] == {"write to what may be read": "PermissionError"}
    assert (shared / "made").read_text() == "weights"
    assert (own / "copied").read_text() == "weights"


def test_a_death_behind_the_walls_names_its_signal(tmp_path: Path) -> None:
    async def main() -> EdgeconvError:
        entry, room = f"{ENTRIES}:die", Room(reads=(CHECKOUT,))
        async with await Child.start(entry, folder=tmp_path, room=room) as child:
            await child.send({"signal": "SIGABRT"})
            with pytest.raises(EdgeconvError) as caught:
                await child.receive()
            return caught.value

    error = asyncio.run(main())
    assert error.reason is Reason.CHILD_DIED
    assert error.metadata["ended_by"] == f"signal {signal.SIGABRT.name}"
