"""Fifty clients at once on one server: how long calls take, who waits, and what is left behind.

    python -m benchmarks.load                  fifty clients for four minutes
    python -m benchmarks.load --quick          ten clients for fifteen seconds
    python -m benchmarks.load --clients 20 --seconds 60

Each client goes a user's whole way again and again: it sends a model, waits for its
inspection, converts it to two variants, watches, downloads and lists. Some cancel, and some
vanish in the middle of an upload or a watch. Steps are quick ones (`edgeconv.testing`), each
in a real child behind its walls.

It fails on any error but the documented refusals, on descriptors that are not given back, on
clients that get no turn, and on memory that is not shown to be flat: over the second half of
the time, the 95 % interval of its growth for each round must lie below `MAX_SLOPE_BYTES`. Where
that is undecided, because a slow machine did too few rounds, give it more time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.flatness import Trend, Verdict, trend
from benchmarks.load_clients import Figures, LoadClient
from benchmarks.other_work import ProcessorTime, in_words, other_processors
from benchmarks.quick_server import CHILD_IDLE_S
from benchmarks.server_process import ServerProcess, running_server

MAX_SLOPE_BYTES = 64 * 1024
"""Of memory per round of a client, in the second half of the time."""
SHORT_S = 60.0
"""What takes no longer says nothing of memory: the first calls load and open what stays."""
MIN_SHARE = 0.3
"""Rounds of the client with the fewest, of the median."""
WHEN = ("start", "peak", "end")
_LOOK_S = 1.0
_COLLECT_LOOKS = 5
_SETTLE_S = 20.0


@dataclass(frozen=True)
class Look:
    """The server at one moment.

    Attributes:
        rounds: Rounds that all clients had ended.
        resident_bytes: Its own, without its children's.
        descriptors: Open ones.
    """

    rounds: int
    resident_bytes: int
    descriptors: int


async def load(
    server: ServerProcess, clients: int, seconds: float, folder: Path
) -> tuple[Figures, list[Look], float]:
    """Runs all clients, after one round that loads and opens what is loaded and opened once.

    Returns:
        What clients saw, what the server looked like before, each second, and at rest, and
        how many seconds it took until the last client had ended its round.
    """
    figures = Figures()
    (folder / "first").mkdir()
    await LoadClient(0, server.endpoint, folder / "first", Figures()).run(0.0)
    await asyncio.sleep(2 * CHILD_IDLE_S)

    def look() -> Look:
        return Look(figures.rounds.total(), server.resident_bytes(), server.descriptors())

    looks = [look()]

    async def look_on() -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            looks.append(look())
            if not len(looks) % _COLLECT_LOOKS:
                # gRPC's own objects keep a closed connection until they are collected, and
                # with it what the server holds for it. Users are processes that end.
                gc.collect()

    began = asyncio.get_running_loop().time()
    looking = asyncio.create_task(look_on())
    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            own = folder / str(number)
            own.mkdir()
            client = LoadClient(number, server.endpoint, own, figures)
            group.create_task(client.run(began + seconds))
    took_s = asyncio.get_running_loop().time() - began
    looking.cancel()
    await settle(server, looks[0].descriptors)
    looks.append(look())
    return figures, looks, took_s


async def settle(server: ServerProcess, descriptors: int) -> None:
    """Waits until the server has given back what calls held, but not for ever."""
    # gRPC's own objects keep a closed connection until they are collected.
    gc.collect()
    deadline = asyncio.get_running_loop().time() + _SETTLE_S
    while asyncio.get_running_loop().time() < deadline:
        if server.descriptors() <= descriptors:
            return
        await asyncio.sleep(_LOOK_S)


def memory_trend(looks: Sequence[Look]) -> Trend | None:
    """Bytes of memory per round in the second half; None where that is too little to tell."""
    half = looks[len(looks) // 2 : -1]
    rounds = [float(each.rounds) for each in half]
    return trend(rounds, [float(each.resident_bytes) for each in half])


def summary(
    figures: Figures, looks: Sequence[Look], clients: int, seconds: float
) -> dict[str, Any]:
    """All figures as plain data."""
    grows = memory_trend(looks) if seconds > SHORT_S else None
    turns = [figures.rounds[number] for number in range(clients)]
    return {
        "clients": clients,
        "seconds": seconds,
        "rounds": sum(turns),
        "fewest_turns": min(turns),
        "median_turns": statistics.median(turns),
        "most_turns": max(turns),
        "seconds_by_verb": {
            verb: {"calls": len(each), **{f"p{p}": percentile(each, p) for p in (50, 95, 100)}}
            for verb, each in sorted(figures.seconds.items())
        },
        "outcomes": dict(figures.outcomes),
        "asked_again": dict(figures.asked_again),
        "refusals": dict(figures.refusals),
        "faults": figures.faults,
        "memory_at_start_bytes": looks[0].resident_bytes,
        "memory_at_peak_bytes": max(each.resident_bytes for each in looks),
        "memory_at_end_bytes": looks[-1].resident_bytes,
        "memory_bytes_per_round": grows and asdict(grows),
        "descriptors_at_start": looks[0].descriptors,
        "descriptors_at_peak": max(each.descriptors for each in looks),
        "descriptors_at_end": looks[-1].descriptors,
        "looks": [asdict(each) for each in looks],
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def memory_verdict(found: dict[str, Any]) -> tuple[str, str, Verdict]:
    """(what is asked, what was seen, what that says) of the server's memory."""
    start, peak, end = (found[f"memory_at_{when}_bytes"] / 2**20 for when in WHEN)
    sizes = f"{start:.0f} MiB at start, {peak:.0f} at peak, {end:.0f} at end"
    asked = f"memory grows ≤ {MAX_SLOPE_BYTES // 1024} KiB a round"
    if found["memory_bytes_per_round"] is None:
        return asked, sizes, Verdict.UNKNOWN
    grows = Trend(**found["memory_bytes_per_round"])
    slope, low, high = (each / 1024 for each in (grows.slope, grows.low, grows.high))
    seen = f"{slope:.0f} KiB a round, between {low:.0f} and {high:.0f}; {sizes}"
    return asked, seen, grows.verdict(MAX_SLOPE_BYTES)


def verdicts(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """(what is asked, what was seen, whether it held), but of memory."""
    neither = found["outcomes"].get("neither succeeded nor cancelled", 0)
    return [
        ("no error but documented refusals", f"{len(found['faults'])}", not found["faults"]),
        ("every conversion succeeded or was cancelled", f"{neither} did neither", not neither),
        (
            f"fewest turns ≥ {MIN_SHARE} of the median's",
            f"{found['fewest_turns']} … {found['median_turns']:.0f} … {found['most_turns']}",
            found["fewest_turns"] >= MIN_SHARE * found["median_turns"],
        ),
        (
            "descriptors given back",
            f"{found['descriptors_at_start']} at start, {found['descriptors_at_peak']} at peak,"
            f" {found['descriptors_at_end']} at end",
            found["descriptors_at_end"] <= found["descriptors_at_start"] + 8,
        ),
    ]


def words(counts: dict[str, int]) -> str:
    """Counts in a line."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"


def show(console: Console, found: dict[str, Any]) -> bool:
    """Prints the figures; whether all held."""
    calls = Table("call", "calls", "p50", "p95", "longest")
    for verb, each in found["seconds_by_verb"].items():
        cells = [f"{each[f'p{percent}']:.3f} s" for percent in (50, 95, 100)]
        calls.add_row(verb, str(each["calls"]), *cells)
    console.print(calls)
    console.print(
        f"{found['clients']} clients, {found['rounds']} rounds in {found['seconds']:.0f} s:"
        f" {found['rounds'] / found['seconds']:.2f} a second; {words(found['outcomes'])}."
    )
    console.print(f"Refusals after which a client tried again: {words(found['asked_again'])}.")
    console.print(f"Refusals that reached a client: {words(found['refusals'])}.")
    for fault in found["faults"][:10]:
        console.print(f"FAULT {fault}", markup=False)
    held = Table("asked", "seen", "")
    for asked, seen, kept in verdicts(found):
        held.add_row(asked, seen, "held" if kept else "MISSED")
    *memory, judged = memory_verdict(found)
    held.add_row(*memory, judged.value)
    console.print(held)
    # A run that was asked to be short is not blamed for what it can't show.
    flat = judged is Verdict.FLAT or (judged is Verdict.UNKNOWN and found["seconds"] <= SHORT_S)
    return flat and all(kept for *_, kept in verdicts(found))


def main() -> int:
    """Prints the tables and writes the JSON; 1 when something was missed."""
    parser = argparse.ArgumentParser(description="Many clients at once on one server.")
    parser.add_argument("--quick", action="store_true", help="ten clients for fifteen seconds")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--json", type=Path, help="where the figures are written")
    arguments = parser.parse_args()
    clients = 10 if arguments.quick else arguments.clients
    seconds = 15.0 if arguments.quick else arguments.seconds
    before = ProcessorTime.now()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder) / "state", module="benchmarks.quick_server") as server,
    ):
        figures, looks, took_s = asyncio.run(load(server, clients, seconds, Path(folder)))
    others = other_processors(before, ProcessorTime.now())
    found = summary(figures, looks, clients, took_s)
    held = show(Console(), found)
    Console().print(in_words(others))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
