"""What is left of a service whose servers are killed: everything, or this says what is not.

    python -m benchmarks.crash                        300 kills, and 10 over real conversions
    python -m benchmarks.crash --database postgresql  two servers on a PostgreSQL of its own
    python -m benchmarks.crash --kills 40 --real 0    fewer, for a first look

Servers die by SIGKILL at named points, at any point that comes as the nth, and after random
times, while jobs come that share steps, fail, are cancelled and are measured. In the end
outputs are compared, not states: those of each job and each step are held against what a server
makes that nobody disturbs, and the bytes of all that anything refers to are read: uploads,
datasets, results, artifacts and raw samples. On PostgreSQL two servers are up, one of them is
killed, and the other goes on; at every third kill all connections to the database are cut, too,
while jobs run. In the end one is stopped for longer than it may be silent, and what it then says
comes too late.

It works in rounds, each on a store of its own. What a round gave is kept in a file, so that a
second call goes on where the first one ended. The exit status is 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from edgeconv.server.crash_points import ANY, CrashPoint
from edgeconv.testing.crashes.findings import Findings, compare
from edgeconv.testing.crashes.life import Nursery, nursery
from edgeconv.testing.crashes.servers import Kill
from edgeconv.testing.crashes.stopped import late_word
from edgeconv.testing.crashes.trial import NEEDS_ONE_SERVER, Outcome, Trial, undisturbed
from edgeconv.testing.postgresql import Cluster, running_cluster

KILLS_A_ROUND = 20
REAL_A_ROUND = 5
MOST_REAL_S = 12.0
MOST_QUICK_S = 2.5
EXECUTOR_DEAD_S = 2.0
OFTEN = {
    CrashPoint.VARIANT_MADE: 2,
    **dict.fromkeys(
        [
            CrashPoint.JOB_QUEUED, CrashPoint.JOB_TAKEN, CrashPoint.STEP_CLAIMED,
            CrashPoint.STEP_TOLD, CrashPoint.INPUTS_BROUGHT, CrashPoint.STEP_SENT,
            CrashPoint.STEP_ANSWERED, CrashPoint.BLOB_WRITTEN, CrashPoint.FILES_TAKEN,
            CrashPoint.STEP_RECORDED, CrashPoint.STEP_REPORTED,
        ],
        6,
    ),
}  # fmt: skip
"""Points that a job comes to more than once, and how often."""


@dataclass(frozen=True)
class Round:
    """What came of a round, and how long it took: all of it, and the comparison alone."""

    outcome: Outcome
    took_s: float
    compared_s: float


@dataclass
class Progress:
    """What the rounds so far gave.

    Attributes:
        hits: Deaths by crash point; those from outside are under "".
        missed: Kills whose point was not reached in time; these servers were killed from outside.
        wrong: What was found.
        elsewhere_s: From deaths until work went on.
        kills_s: What each kill took.
        compared_s: What it took to do all jobs once more, undisturbed, and to compare.
        cuts: How often all connections to the database were cut; they do not count as kills.
        connections: How many those were.
        blobs: Blobs that something refers to, all read in the end of each round.
        late: What came of a server that was stopped for too long; empty when not yet tried.
    """

    seed: int
    database: str
    kills: int = 0
    real: int = 0
    rounds: int = 0
    jobs: int = 0
    steps: int = 0
    hits: dict[str, int] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    elsewhere_s: list[float] = field(default_factory=list)
    kills_s: list[float] = field(default_factory=list)
    compared_s: float = 0.0
    wall_s: float = 0.0
    cuts: int = 0
    connections: int = 0
    blobs: int = 0
    late: str = ""

    @classmethod
    def read(cls, path: Path, seed: int, database: str) -> Progress:
        """What stands in the file; a file of another seed or database is refused."""
        if not path.exists():
            return cls(seed, database)
        found = cls(**json.loads(path.read_text()))
        if (found.seed, found.database) != (seed, database):
            raise SystemExit(f"{path} is of seed {found.seed} on {found.database}; name another")
        return found

    def write(self, path: Path) -> None:
        """Keeps it; the file appears whole."""
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(asdict(self), indent=1) + "\n")
        beside.replace(path)

    def add(self, round_: Round, *, real: bool) -> None:
        """Adds a round."""
        outcome = round_.outcome
        died = Counter(self.hits)
        died.update(death.point for death in outcome.deaths)
        self.hits = dict(died)
        self.missed += [
            death.kill.point
            for death in outcome.deaths
            if death.kill.point not in ("", ANY) and death.point != death.kill.point
        ]
        self.rounds += 1
        if real:
            self.real += len(outcome.deaths)
        else:
            self.kills += len(outcome.deaths)
        self.jobs += len(outcome.jobs)
        self.steps += sum(row["state"] == "done" for row in outcome.stored.steps)
        self.cuts += len(outcome.cuts)
        self.connections += sum(outcome.cuts)
        self.blobs += outcome.held
        self.elsewhere_s += outcome.elsewhere_s
        self.kills_s += outcome.kills_s
        self.compared_s += round_.compared_s
        self.wall_s += round_.took_s
        for kind, words in vars(outcome.findings).items():
            self.wrong.setdefault(kind, []).extend(words)


def points_of(database: str) -> list[CrashPoint]:
    """The points that a server on that database can be killed at."""
    return [point for point in CrashPoint if database == "sqlite" or point not in NEEDS_ONE_SERVER]


def named_kills(rng: random.Random, database: str) -> Iterator[Kill]:
    """Kills without an end: every point again and again, with others in between."""
    points = points_of(database)
    while True:
        rng.shuffle(points)
        for point in points:
            yield Kill(point, rng.randint(1, OFTEN.get(point, 1)))
            match rng.randrange(5):
                case 0:
                    yield Kill(ANY, rng.randint(1, 120))
                case 1 | 2:
                    yield Kill(after_s=rng.uniform(0.0, MOST_QUICK_S))


def real_kills(rng: random.Random, number: int) -> list[Kill]:
    """Kills while real libraries work."""
    return [
        Kill(after_s=rng.uniform(0.5, MOST_REAL_S)) if place % 2 else Kill(ANY, rng.randint(5, 80))
        for place in range(number)
    ]


async def play(
    kills: Sequence[Kill], servers: Nursery, *, real: bool, cluster: Cluster | None,
    patience_s: float,
) -> Round:  # fmt: skip
    """A round: jobs under kills, and the same ones undisturbed."""
    with tempfile.TemporaryDirectory(prefix="edgeconv-crash-") as name:
        folder, began = Path(name), time.monotonic()
        more = {"executor_dead_s": EXECUTOR_DEAD_S} if cluster else {}
        killed = await Trial(
            folder, servers, feed=not real,
            database=cluster.new_database() if cluster else "",
            real_steps=real, settings=more, patience_s=patience_s,
        ).run(kills)  # fmt: skip
        killed_s = time.monotonic() - began
        # Quick models name their journal's place: it is to be the same one.
        for left in ("state", "blobs", "journal"):
            if (folder / left).exists():
                (folder / left).rename(folder / f"{left} of the killed")
        expected = await undisturbed(folder, servers, killed.jobs, real_steps=real)
        killed.findings.add(compare(killed.stored, expected, [job.name for job in killed.jobs]))
        took_s = time.monotonic() - began
        return Round(killed, took_s, took_s - killed_s)


async def run(arguments: argparse.Namespace, progress: Progress) -> None:
    """Plays rounds until there are as many kills as asked for."""
    schedule = named_kills(random.Random(arguments.seed), arguments.database)
    for _ in range(progress.kills):
        next(schedule)
    clusters: AbstractContextManager[Cluster | None] = (
        running_cluster() if arguments.database == "postgresql" else nullcontext()
    )
    with clusters as cluster, tempfile.TemporaryDirectory(prefix="edgeconv-crash-") as logs:
        async with nursery(Path(logs)) as servers:
            await _play_rounds(arguments, progress, schedule, servers, cluster)


async def _play_rounds(
    arguments: argparse.Namespace, progress: Progress, schedule: Iterator[Kill],
    servers: Nursery, cluster: Cluster | None,
) -> None:  # fmt: skip
    console = Console(stderr=True)
    while True:
        rng = random.Random(f"{arguments.seed} {progress.rounds}")
        quick, real = arguments.kills - progress.kills, arguments.real - progress.real
        if quick > 0:
            kills = [next(schedule) for _ in range(min(quick, KILLS_A_ROUND))]
        elif real > 0:
            kills = real_kills(rng, min(real, REAL_A_ROUND))
        else:
            break
        played = await play(
            kills, servers, real=quick <= 0, cluster=cluster, patience_s=arguments.patience
        )
        progress.add(played, real=quick <= 0)
        progress.write(arguments.progress)
        findings = played.outcome.findings.all
        console.print(
                f"round {progress.rounds}: {progress.kills} kills, {progress.real} over real"
                f" conversions, {progress.jobs} jobs, {len(findings)} wrong",
                *findings[:10], sep="\n  ", markup=False,
            )  # fmt: skip
    if cluster is not None and not progress.late:
        with tempfile.TemporaryDirectory(prefix="edgeconv-crash-") as name:
            progress.late = await late_word(
                Path(name), servers, cluster.new_database(), EXECUTOR_DEAD_S
            )
        progress.write(arguments.progress)


def tables(progress: Progress) -> tuple[list[Table], bool]:
    """Hits by point, figures, and whether nothing was wrong."""
    hits = Table("died at", "times")
    for point in CrashPoint:
        hits.add_row(point.value, str(progress.hits.get(point.value, 0)))
    hits.add_row("from outside, at a random time", str(progress.hits.get("", 0)))
    figures = Table("what", "figure", "")
    figures.add_row("kills over quick steps", str(progress.kills), "")
    figures.add_row("kills over real conversions", str(progress.real), "")
    figures.add_row("jobs, all compared", str(progress.jobs), "")
    figures.add_row("results of steps", str(progress.steps), "")
    figures.add_row("blobs that something refers to, all read", str(progress.blobs), "")
    figures.add_row("seconds a kill, median", _median(progress.kills_s), "")
    figures.add_row("seconds a kill, all in all", _a_kill(progress, progress.wall_s), "")
    figures.add_row("of these for the comparison", _a_kill(progress, progress.compared_s), "")
    for kind in vars(Findings()):
        number = len(progress.wrong.get(kind, []))
        figures.add_row(_WORDS[kind], str(number), "WRONG" if number else "held")
    figures.add_row("points that were not come to", str(len(progress.missed)), "")
    if progress.elsewhere_s:
        times = progress.elsewhere_s
        words = f"{min(times):.1f} / {statistics.median(times):.1f} / {max(times):.1f} s"
        figures.add_row(f"until work goes on, min/median/max of {len(times)}", words, "")
    points = points_of(progress.database)
    never = [point.value for point in points if not progress.hits.get(point.value)]
    enough = progress.kills >= _ENOUGH * len(points)
    verdict = ("WRONG" if never else "held") if enough else "too few kills to ask for each"
    figures.add_row("points that nobody died at", ", ".join(never) or "0", verdict)
    held = not any(progress.wrong.values()) and not (enough and never)
    if progress.database == "postgresql":
        right = progress.late.startswith("refused")
        held = held and right
        words = f"{progress.cuts}, of {progress.connections} connections in all"
        figures.add_row("times that all connections were cut", words, "")
        figures.add_row("a stopped server's late word", progress.late, "held" if right else "WRONG")
    return [hits, figures], held


_ENOUGH = 4
"""Kills for each point after which one that was never hit is a fault of the benchmark's."""

_WORDS = {
    "missing": "results missing",
    "twice": "results made twice",
    "different": "outputs unlike those of an undisturbed server",
    "unfinished": "jobs without one end, events with gaps",
    "done_again": "steps run again after they were recorded",
    "orphans": "children alive 5 s after their server",
    "ended": "servers that ended by themselves",
    "left": "what a collection was to remove and did not",
}


def _a_kill(progress: Progress, whole_s: float) -> str:
    return f"{whole_s / max(1, progress.kills + progress.real):.1f}"


def _median(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.1f}" if times else "none yet"


def main() -> int:
    """Prints the tables; 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description="Kills servers and compares what comes out.")
    parser.add_argument("--kills", type=int, default=300, help="over quick steps")
    parser.add_argument("--real", type=int, default=10, help="over real conversions")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--progress", type=Path, help="the file that a second call goes on from")
    parser.add_argument("--patience", type=float, default=20.0,
                        help="seconds that a server has to come to its point")  # fmt: skip
    arguments = parser.parse_args()
    if arguments.progress is None:
        arguments.progress = Path("build", f"crash-{arguments.database}-{arguments.seed}.json")
    progress = Progress.read(arguments.progress, arguments.seed, arguments.database)
    asyncio.run(run(arguments, progress))
    shown, held = tables(progress)
    for table in shown:
        Console().print(table)
    for kind, words in progress.wrong.items():
        for each in words:
            print(f"{kind}: {each}", file=sys.stderr)
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
