"""Hostile model files against the intake, in real children and through a real server.

    python -m fuzzing                          3,000 cases in children, 300 through a server
    python -m fuzzing --cases 200              fewer of them, spread over the kinds
    python -m fuzzing --kinds onnx,json        some kinds only
    python -m fuzzing --case onnx:17 --keep F  one case again; its files are kept in folder F
    python -m fuzzing --case onnx:17 --smaller --keep F    as few fields as still do the same

A case is a kind and a number, and always the same files:

    onnx     fields, names, tensors and graph of an ONNX model
    graph    nodes that fit their schema added to one, which get past the reader
    wire     the encoding of its message
    archive  zip members of a `.pt2`, their headers and names
    json     its graph, symbols, shapes and tables
    folder   files that are not what they are called, too many, or two in one
    bytes    bit flips that know nothing, as a control

Each is inspected and taken in; a server converts it, too. What ends in a fault or at a limit
is done once more in a fresh child. Exit code 1 when a child or a server died, an error of no
known type or in words of no use came out, a server logged a fault, or time-outs or memory
limits are more than 1 %; 130 after Ctrl-C or SIGTERM, with the table so far.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from edgeconv.report.printable import printable
from edgeconv.sandbox.limits import GIB, Limits
from fuzzing.cases import KINDS, Case, make_case
from fuzzing.children import Children
from fuzzing.outcomes import Finding, Outcome, Tally
from fuzzing.service import through_server
from fuzzing.smaller import smaller

_CASES, _SERVER_CASES = 3000, 300
_EVERY = 25


def case_numbers(kinds: Sequence[str], count: int, start: int = 0) -> Iterator[tuple[str, int]]:
    """Kind and number of that many cases, block by block, so that a child sees one kind."""
    share = [count // len(kinds) + (place < count % len(kinds)) for place in range(len(kinds))]
    for kind, own in zip(kinds, share, strict=True):
        yield from ((kind, start + place) for place in range(own))


Tell = Callable[[Case, Outcome, Finding | None], None]


async def in_children(
    cases: Iterable[Case], tally: Tally, tell: Tell, *, limits: Limits, time_limit_s: float
) -> None:
    """Does cases in children and counts what became of them."""
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        children = Children(Path(folder), limits, time_limit_s)
        try:
            for case in cases:
                outcome = await children.run(case)
                tell(case, outcome, tally.add(case, outcome))
        finally:
            await children.close()


def keep(case: Case, folder: Path) -> None:
    """Writes a case's files to a folder of its own."""
    own = folder / case.name.replace(":", "-")
    own.mkdir(parents=True, exist_ok=True)
    for name, data in case.files.items():
        (own / name).write_bytes(data)


def _teller(given: argparse.Namespace, tally: Tally) -> Tell:
    """Says what is found while cases are done, keeps its files and writes the log."""
    console = Console(stderr=True)

    def tell(case: Case, outcome: Outcome, found: Finding | None) -> None:
        if found is not None:
            console.print(f"{case.name}: {found.why}", markup=False)
        if (found is not None or given.case) and given.keep is not None:
            keep(case, given.keep)
        if given.log is not None:
            line = {"case": case.name, "done": case.done[:500], **asdict(outcome)}
            with given.log.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
        if tally.cases % _EVERY == 0:
            console.print(f"{tally.cases} cases, {len(tally.findings)} findings, now {case.name}")

    return tell


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs cases, prints the table and writes the JSON."""
    given = _arguments(arguments)
    tally = Tally()
    tell = _teller(given, tally)
    # What Ctrl-C ends in good order, SIGTERM ends so, too; a shell may have had it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    if given.smaller:
        asyncio.run(_made_smaller(given))
        return 0
    try:
        if given.level != "server":
            asyncio.run(_in_children(given, tally, tell))
        if given.level != "children" and (given.level == "server" or not given.case):
            asyncio.run(_serve(given, tally, tell))
    except KeyboardInterrupt:
        tally.interrupted = True
    finally:
        tally.show(Console(width=130))
        if given.json is not None:
            given.json.write_text(json.dumps(tally.to_json(), indent=1))
    return 130 if tally.interrupted else int(tally.failed)


async def _made_smaller(given: argparse.Namespace) -> None:
    """Prints what is left of each case, and keeps it where that is asked for."""
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        children = Children(Path(folder), _limits(given), given.time_limit)
        try:
            for kind, number in given.case:
                whole = make_case(kind, number, given.seed)
                case, outcome = await smaller(whole, children.run)
                sizes = [sum(map(len, each.files.values())) for each in (whole, case)]
                print(f"{case.name}: {sizes[0]} bytes became {sizes[1]}: {printable(outcome.what)}")
                if given.keep is not None:
                    keep(case, given.keep)
        finally:
            await children.close()


async def _in_children(given: argparse.Namespace, tally: Tally, tell: Tell) -> None:
    numbers = given.case or list(case_numbers(given.kinds, given.cases, given.start))
    cases = (make_case(kind, number, given.seed) for kind, number in numbers)
    await in_children(cases, tally, tell, limits=_limits(given), time_limit_s=given.time_limit)


def _limits(given: argparse.Namespace) -> Limits:
    return Limits(address_space_bytes=given.memory_gib * GIB)


async def _serve(given: argparse.Namespace, tally: Tally, tell: Tell) -> None:
    """The cases that go through a server, after those of the children; of each kind in turn."""
    first = given.start + given.cases
    numbers = given.case or sorted(
        case_numbers(given.kinds, given.server_cases, first), key=lambda case: case[1]
    )
    cases = (make_case(kind, number, given.seed) for kind, number in numbers)

    def count(case: Case, outcome: Outcome) -> None:
        tell(case, outcome, tally.add(case, outcome, where=", server"))

    await through_server(
        cases, given.time_limit, count, tally.servers.append, at_once=given.at_once
    )


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzzing")
    add = parser.add_argument
    add("--cases", type=int, default=_CASES, help="how many, over all kinds")
    add("--kinds", type=_kinds, default=KINDS, help=f"some of {','.join(KINDS)}")
    add("--case", type=_case, action="append", default=[], help="one case again: KIND:NUMBER")
    add("--smaller", action="store_true", help="cases given by --case, made as small as can be")
    add("--server-cases", type=int, default=_SERVER_CASES, help="how many through a server")
    add("--at-once", type=int, default=1, help="cases that are with the server at a time")
    add("--level", choices=("both", "children", "server"), default="both")
    add("--start", type=int, default=0, help="number of the first case of each kind")
    add("--seed", type=int, default=0, help="another seed gives other cases")
    add("--time-limit", type=float, default=60.0, help="seconds for one step of a case")
    add("--memory-gib", type=int, default=16, help="address space of a child")
    add("--keep", type=Path, help="folder for the files of what was found")
    add("--log", type=Path, help="file that gets a line of JSON for each case")
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
