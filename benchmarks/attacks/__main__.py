"""Programs that run code when they are loaded, and what gets out of a job's child.

    python -m benchmarks.attacks                 seven routes into it, 42 escapes out of it
    python -m benchmarks.attacks --route guards  one route
    python -m benchmarks.attacks --route deeds   what is left behind for the server alone
    python -m benchmarks.attacks --json FILE     every attempt

1. Checked before loading, as always: each program is refused, the member named, and none of
   its code runs.
2. The check left out, so that torch loads the program in a child and its code runs: without
   walls each escape works; behind both walls none may; behind one of them it is held, or the
   child has said before that it could be done.
3. What a child leaves behind when its step is done, and what it says of it, taken up as a server
   does: links, pipes, names, folders that are swapped, files that change. None of it may lead the
   server outside, to another's files, or to a fault of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from benchmarks.attacks.aftermath import aftermaths, done_freely, handled
from benchmarks.attacks.attempts import CHECKOUT, attempts, names_its_member, refusal
from benchmarks.attacks.deeds import DEEDS
from benchmarks.attacks.routes import ROUTES, attack, honest_program, write_hostile
from benchmarks.attacks.verdicts import Left, Verdict, behind_walls, free, traces_left
from benchmarks.attacks.world import ESCAPES, open_world
from edgeconv.sandbox.walls import Room

NO_WALLS, BOTH = "no walls", "both walls"
ROOMS: Mapping[str, Room | None] = {
    NO_WALLS: None,
    BOTH: Room(),
    "Landlock alone": Room(seccomp=False),
    "seccomp alone": Room(landlock=0),
}
"""The walls of a column; the first shows that the attack is one."""
_NO_ROOM = Room(landlock=0, seccomp=False)

LEFT_BEHIND = "deeds"

_HARMLESS = {Verdict.WORKED, Verdict.HELD, Verdict.SAID}


@dataclass
class Outcome:
    """All that was found.

    Attributes:
        refused: Route → what the check said, and whether it named the member.
        verdicts: (route, escape, column) → verdict; the route of deeds is `LEFT_BEHIND`.
    """

    refused: dict[str, tuple[str, bool]] = field(default_factory=dict)
    verdicts: dict[tuple[str, str, str], Verdict] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether nothing escaped, every attack is one, and all were refused before loading."""
        known = all(each in _HARMLESS for each in self.verdicts.values())
        closed = all(
            each is Verdict.HELD for (_, _, column), each in self.verdicts.items() if column == BOTH
        )
        return known and closed and all(named for _, named in self.refused.values())

    def counted(self, column: str, *, escape: str = "", route: str = "") -> str:
        """Verdicts of a column in words, of all or of one escape or route."""
        found = Counter(
            verdict
            for (by, out, where), verdict in self.verdicts.items()
            if where == column and escape in ("", out) and route in ("", by)
        )
        return ", ".join(f"{found[each]} {each}" for each in Verdict if found[each])


async def run(routes: Sequence[str], columns: Sequence[str] = tuple(ROOMS)) -> Outcome:
    """Tries everything by these routes; the first column is that without walls."""
    outcome = Outcome()
    if LEFT_BEHIND in routes:
        await _run_deeds(columns, outcome)
        print(f"deeds: {outcome.counted(BOTH)}", file=sys.stderr, flush=True)
    honest = honest_program() if set(routes) - {LEFT_BEHIND} else b""
    for route in routes:
        if route == LEFT_BEHIND:
            continue
        with tempfile.TemporaryDirectory(prefix="edgeconv-attacks-") as name:
            await _run_route(route, honest, Path(name), columns, outcome)
        print(f"{route}: {outcome.counted(BOTH, route=route)}", file=sys.stderr, flush=True)
    return outcome


async def _run_route(
    route: str, honest: bytes, folder: Path, columns: Sequence[str], outcome: Outcome
) -> None:
    program = write_hostile(route, honest, folder / "model.pt2", attack(route))
    checked = folder / "checked"
    checked.mkdir()
    said = await refusal(program, checked)
    member = ROUTES[route][1]
    outcome.refused[route] = (said.message if said else "taken", names_its_member(said, member))
    left: Left = {}
    for column in columns:
        room = ROOMS[column]
        place = folder / column
        place.mkdir()
        with open_world(place) as world:
            found = [each async for each in attempts(route, program, world, _with(room, program))]
        if room is None:
            left = traces_left(found)
        for each in found:
            verdict = behind_walls(each, left) if room else free(each)
            outcome.verdicts[route, each.escape, column] = verdict


async def _run_deeds(columns: Sequence[str], outcome: Outcome) -> None:
    for column in columns:
        room = ROOMS[column]
        judge = handled if room else done_freely
        with tempfile.TemporaryDirectory(prefix="edgeconv-attacks-") as name:
            place, blobs = Path(name, "world"), Path(name, "blobs")
            place.mkdir()
            blobs.mkdir()
            with open_world(place) as world:
                async for each in aftermaths(world, room or _NO_ROOM, blobs):
                    outcome.verdicts[LEFT_BEHIND, each.deed, column] = judge(each)


def _with(room: Room | None, program: Path) -> Room | None:
    """What the code that loads it lies in, and the program."""
    if room is None:
        return None
    return Room(reads=(CHECKOUT, program), landlock=room.landlock, seccomp=room.seccomp)


def print_tables(outcome: Outcome, console: Console) -> None:
    """The refusals, and the verdicts by escape, over all routes."""
    checked = Table("route", "member named", "the check before loading says", title="Checked")
    for route, (words, named) in outcome.refused.items():
        checked.add_row(route, "yes" if named else "NO", words)
    if outcome.refused:
        console.print(checked)
    routes = len(outcome.refused)
    by = f"by {routes} {'routes' if routes > 1 else 'route'}"
    for title, names in ((f"Loaded unchecked, {by}", ESCAPES), ("Left behind", DEEDS)):
        tried = Table(Column(title, no_wrap=True), *ROOMS)
        tried_names = {name for _, name, _ in outcome.verdicts}
        for name in filter(tried_names.__contains__, names):
            tried.add_row(name, *(outcome.counted(column, escape=name) for column in ROOMS))
        if tried.row_count:
            console.print(tried)
    every = Table("all", *ROOMS)
    every.add_row("", *(outcome.counted(column) for column in ROOMS))
    console.print(every)
    behind = [each for (_, _, column), each in outcome.verdicts.items() if column == BOTH]
    escaped = sum(each is not Verdict.HELD for each in behind)
    console.print(f"Behind both walls: {escaped} escapes of {len(behind)}.")


def main() -> int:
    """Prints the tables; 1 when something escaped or was not shown."""
    parser = argparse.ArgumentParser(description="What gets out of a job's child.")
    parser.add_argument(
        "--route", action="append", choices=[*ROUTES, LEFT_BEHIND], help="only this one"
    )
    parser.add_argument("--json", type=Path, help="where every verdict is written")
    arguments = parser.parse_args()
    # Children die here, and are meant to.
    logging.getLogger("edgeconv").setLevel(logging.CRITICAL)
    outcome = asyncio.run(run(arguments.route or [*ROUTES, LEFT_BEHIND]))
    print_tables(outcome, Console())
    if arguments.json:
        rows = [
            {"route": route, "escape": escape, "walls": column, "verdict": verdict}
            for (route, escape, column), verdict in outcome.verdicts.items()
        ]
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if outcome.holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
