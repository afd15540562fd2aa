"""What is wrong with a store whose servers were killed. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from edgeconv.server.records import TERMINAL_JOB_STATES
from edgeconv.testing.crashes.outputs import (
    Aged,
    Row,
    Stored,
    differences,
    digests_of,
    job_outputs,
    step_outputs,
)
from edgeconv.testing.crashes.servers import Death
from edgeconv.testing.quick_steps import JournalLine


@dataclass(frozen=True)
class Expected:
    """What a server makes that nobody disturbs: by job, and by the key of a step."""

    jobs: Mapping[str, Any]
    steps: Mapping[str, Any]


@dataclass
class Findings:
    """What is wrong, in words; all empty is as it should be.

    Attributes:
        missing: Results of steps, or jobs, that are not there.
        twice: Results of one and the same work under two keys, and work that was done again
            though nobody who did it had died.
        different: Outputs that are not those of an undisturbed server.
        unfinished: Jobs without a terminal state, or with more than one, and events that do
            not follow each other.
        done_again: Steps that ran after their result was recorded.
        orphans: Children that outlived their server by 5 s.
        ended: Servers that ended by themselves, with their last words.
        left: What a collection was to remove, and is still there.
    """

    missing: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    done_again: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        """Adds what was found elsewhere."""
        for name, words in vars(other).items():
            getattr(self, name).extend(words)

    @property
    def all(self) -> list[str]:
        """All of them, each with what kind it is."""
        return [f"{kind}: {each}" for kind, words in vars(self).items() for each in words]


def compare(stored: Stored, expected: Expected, jobs: Collection[str]) -> Findings:
    """Holds the outputs of some jobs against those of an undisturbed server."""
    findings = Findings()
    found = job_outputs(stored)
    wanted = {name: expected.jobs[name] for name in jobs}
    findings.missing += [f"job {name}" for name in wanted if name not in found]
    findings.different += differences(
        {name: job for name, job in wanted.items() if name in found},
        {name: job for name, job in found.items() if name in wanted},
    )
    steps = step_outputs(stored)
    keys = {key for name in wanted for key in wanted[name]["steps"].values()}
    findings.missing += [f"the result of step {key}" for key in sorted(keys - set(steps))]
    findings.different += differences(
        {key: expected.steps[key] for key in keys if key in steps},
        {key: steps[key] for key in keys if key in steps},
    )
    orders = Counter(order_of(row) for row in stored.steps if row["state"] == "done")
    findings.twice += [f"{n} results of order {order}" for order, n in orders.items() if n > 1]
    return findings


def check_ends(stored: Stored) -> Findings:
    """Each job in one terminal state, each variant ended once, events without a gap."""
    findings = Findings()
    by_job: dict[str, list[Row]] = defaultdict(list)
    for event in sorted(stored.events, key=lambda event: event["sequence"]):
        by_job[event["conversion"]].append(event)
    for row in stored.conversions:
        name, events = row["model_version"], by_job[row["id"]]
        if row["state"] not in TERMINAL_JOB_STATES:
            findings.unfinished.append(f"{name} is {row['state']}")
            continue
        ends = [
            event["body"]["state"]
            for event in events
            if event["kind"] == "state_changed" and event["body"]["state"] in TERMINAL_JOB_STATES
        ]
        if ends != [row["state"]]:
            findings.unfinished.append(f"{name} is {row['state']} and was told as {ends}")
        if row["collected_ns"]:
            # Of what it told, its end stays.
            if len(events) != 1:
                findings.unfinished.append(f"{name} was collected and has {len(events)} events")
        elif [event["sequence"] for event in events] != list(range(1, len(events) + 1)):
            findings.unfinished.append(f"the events of {name} have gaps")
        told = Counter(e["body"]["variant"] for e in events if e["kind"] == "variant_changed")
        findings.unfinished += [f"{name}: {v} ended {n} times" for v, n in told.items() if n > 1]
    for row in [*stored.models, *stored.datasets]:
        if row["state"] == "inspecting":
            name = row.get("model") or row["dataset"]
            findings.unfinished.append(f"{name} is inspecting")
    findings.unfinished += [
        f"step {row['name']} {row['key']} is held by {row['owner']}"
        for row in stored.steps
        if row["state"] == "running"
    ]
    return findings


def check_runs(
    stored: Stored,
    journal: Iterable[JournalLine],
    *,
    ended_ns: Mapping[int, int],
    may_run_again: Collection[str],
) -> Findings:
    """No step runs once its result is recorded, and none twice unless who did it died.

    Args:
        ended_ns: When servers ended, by process.
        may_run_again: Orders whose results were damaged, and orders of jobs that were
            cancelled.
    """
    findings = Findings()
    runs: dict[str, list[JournalLine]] = defaultdict(list)
    for line in journal:
        runs[line.order].append(line)
    for row in stored.steps:
        if row["state"] != "done":
            continue
        order = order_of(row)
        if order in may_run_again:
            continue
        mine = runs[order]
        late = [line for line in mine if line.time_ns > row["changed_ns"]]
        findings.done_again += [f"{row['name']} of order {order} in {line.pid}" for line in late]
        findings.twice += _unexplained(mine, ended_ns)
        # What is read of a dataset is kept for all models, and a model names the journal.
        if not mine and row["name"] != "inspect-dataset":
            findings.missing.append(f"a run of {row['name']}, order {order}: not in the journal")
    return findings


def check_tokens(
    stored: Stored,
    deaths: Iterable[Death],
    may_run_again: Collection[str],
    aged: Iterable[Aged] = (),
) -> Findings:
    """No step that was recorded when a server died is claimed again; aged ones are gone."""
    findings = Findings()
    now = {row["key"]: row for row in stored.steps}
    removed = frozenset[str]().union(*(each.keys for each in aged))
    for death in deaths:
        for key, token in death.recorded.items():
            row = now.get(key)
            if key in removed:
                continue
            if row is None or row["state"] != "done":
                findings.missing.append(f"the result of step {key}, recorded once")
            elif row["token"] != token and order_of(row) not in may_run_again:
                findings.done_again.append(f"{row['name']} {key}, by its token")
    return findings


def check_collected(stored: Stored, aged: Iterable[Aged], found: Collection[str]) -> Findings:
    """All that nobody has used for long is gone: results, rows, and bytes that no other needs.

    Args:
        found: Digests of the blobs whose bytes are there.
    """
    findings = Findings()
    collected = {row["id"] for row in stored.conversions if row["collected_ns"]}
    needed = digests_of(stored.steps)
    there = {row["digest"] for row in stored.blobs} | set(found)
    for each in aged:
        if each.conversion not in collected:
            findings.left.append(f"the files of {each.conversion}")
        findings.left += [
            f"the result of {row['name']} {row['key']}"
            for row in stored.steps
            if row["key"] in each.keys and row["state"] == "done"
        ]
        findings.left += [f"the blob {gone}" for gone in sorted(each.digests & there - needed)]
    return findings


def order_of(row: Row) -> str:
    """What a step's result was made of: real steps have only their key for that."""
    return str(row["output"]["facts"].get("order", row["key"]))


def elsewhere_s(journal: Iterable[JournalLine], ended_ns: Mapping[int, int]) -> list[float]:
    """From the end of each server until the first step that it was at ran elsewhere.

    A server that was at no step, or only at one whose result it had recorded, is not there.
    """
    runs: dict[str, list[JournalLine]] = defaultdict(list)
    for line in journal:
        runs[line.order].append(line)
    first: dict[int, int] = {}
    for mine in runs.values():
        for one, other in pairwise(mine):
            if one.server in ended_ns and other.time_ns > ended_ns[one.server]:
                first[one.server] = min(first.get(one.server, other.time_ns), other.time_ns)
    return [(began - ended_ns[server]) / 1e9 for server, began in first.items()]


def _unexplained(runs: Sequence[JournalLine], ended_ns: Mapping[int, int]) -> list[str]:
    words = []
    for first, second in pairwise(runs):
        died_ns = ended_ns.get(first.server)
        if died_ns is None or not first.time_ns <= died_ns <= second.time_ns:
            words.append(
                f"{first.step} of order {first.order} ran in {first.pid} of server {first.server},"
                f" which had not died, and again in {second.pid} of {second.server}"
            )
    return words
