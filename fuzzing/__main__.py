"""Hostile model files against the intake, in real children and through a real server.

    python -m fuzzing                          3,000 cases in children, 300 through a server
    python -m fuzzing --cases 200              fewer of them, spread over the kinds
    python -m fuzzing --kinds onnx,json        some kinds only
    python -m fuzzing --case onnx:17 --keep F  one case again; its files are kept in folder F

A case is a kind and a number, and always the same files: onnx (fields and graph of an ONNX
model), archive (zip members of a `.pt2`), json (its graph, symbols, shapes and tables) and
bytes (bit flips that know nothing, as a control). Each is inspected and taken in. Exit code
1 when a server crashed, an error of no known type came out, or time-outs, memory limits or
children that died are more than 1 % each; 130 after Ctrl-C, with the table so far.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from edgeconv.sandbox.limits import GIB, Limits
from fuzzing.cases import KINDS, Case, make_case
from fuzzing.children import Children
from fuzzing.outcomes import Finding, Tally
from fuzzing.service import through_server

_CASES, _SERVER_CASES = 3000, 300
_EVERY = 25


def case_numbers(kinds: Sequence[str], count: int, start: int = 0) -> Iterator[tuple[str, int]]:
    """Kind and number of that many cases, block by block, so that a child sees one kind."""
    share = [count // len(kinds) + (place < count % len(kinds)) for place in range(len(kinds))]
    for kind, own in zip(kinds, share, strict=True):
        yield from ((kind, start + place) for place in range(own))


async def in_children(
    cases: Iterable[Case], tally: Tally, tell: Callable[[Case, Finding | None], None],
    *, limits: Limits, time_limit_s: float,
) -> None:  # fmt: skip
    """Does cases in children and counts what became of them."""
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        children = Children(Path(folder), limits, time_limit_s)
        try:
            for case in cases:
                outcome = await children.run(case)
                tell(case, tally.add(case.name, case.kind, case.done, outcome))
        finally:
            await children.close()


def keep(case: Case, folder: Path) -> None:
    """Writes a case's files to a folder of its own."""
    own = folder / case.name.replace(":", "-")
    own.mkdir(parents=True, exist_ok=True)
    for name, data in case.files.items():
        (own / name).write_bytes(data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs cases, prints the table and writes the JSON."""
    given = _arguments(arguments)
    console = Console(stderr=True)
    tally = Tally()

    def tell(case: Case, found: Finding | None) -> None:
        if found is not None:
            console.print(f"{case.name}: {found.why}", markup=False)
        if (found is not None or given.case) and given.keep is not None:
            keep(case, given.keep)
        if tally.cases % _EVERY == 0:
            console.print(f"{tally.cases} cases, {len(tally.findings)} findings, now {case.name}")

    try:
        if given.level != "server":
            asyncio.run(_in_children(given, tally, tell))
        if given.level != "children" and (given.level == "server" or not given.case):
            _serve(given, tally, tell)
    except KeyboardInterrupt:
        tally.interrupted = True
    tally.show(Console(width=110))
    if given.json is not None:
        given.json.write_text(json.dumps(tally.to_json(), indent=1))
    return 130 if tally.interrupted else int(tally.failed)


async def _in_children(
    given: argparse.Namespace, tally: Tally, tell: Callable[[Case, Finding | None], None]
) -> None:
    limits = Limits(address_space_bytes=given.memory_gib * GIB)
    numbers = given.case or list(case_numbers(given.kinds, given.cases, given.start))
    cases = (make_case(kind, number, given.seed) for kind, number in numbers)
    await in_children(cases, tally, tell, limits=limits, time_limit_s=given.time_limit)


def _serve(
    given: argparse.Namespace, tally: Tally, tell: Callable[[Case, Finding | None], None]
) -> None:
    """The cases that go through a server, after those of the children."""
    first = given.start + given.cases
    numbers = given.case or case_numbers(given.kinds, given.server_cases, first)
    cases = (make_case(kind, number, given.seed) for kind, number in numbers)
    for case, outcome in through_server(cases, given.time_limit):
        tell(case, tally.add(f"{case.name}", f"{case.kind}, server", case.done, outcome))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzzing")
    add = parser.add_argument
    add("--cases", type=int, default=_CASES, help="how many, over all kinds")
    add("--kinds", type=_kinds, default=KINDS, help=f"some of {','.join(KINDS)}")
    add("--case", type=_case, action="append", default=[], help="one case again: KIND:NUMBER")
    add("--server-cases", type=int, default=_SERVER_CASES, help="how many through a server")
    add("--level", choices=("both", "children", "server"), default="both")
    add("--start", type=int, default=0, help="number of the first case of each kind")
    add("--seed", type=int, default=0, help="another seed gives other cases")
    add("--time-limit", type=float, default=60.0, help="seconds for one step of a case")
    add("--memory-gib", type=int, default=16, help="address space of a child")
    add("--keep", type=Path, help="folder for the files of what was found")
    add("--json", type=Path, help="file for the counts and findings")
    return parser.parse_args(arguments)


def _kinds(words: str) -> tuple[str, ...]:
    kinds = tuple(words.split(","))
    if not set(kinds) <= set(KINDS):
        raise argparse.ArgumentTypeError(f"kinds are {', '.join(KINDS)}")
    return kinds


def _case(words: str) -> tuple[str, int]:
    kind, _, number = words.partition(":")
    with suppress(ValueError):
        if kind in KINDS:
            return kind, int(number)
    raise argparse.ArgumentTypeError("a case is KIND:NUMBER")


if __name__ == "__main__":
    raise SystemExit(main())
