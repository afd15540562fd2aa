"""What became of the cases, counted and shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgeconv.report.printable import printable
from fuzzing.cases import Case

ACCEPTED = "accepted"
TIME_OUT = "time-out"
MEMORY = "memory limit"
CRASH = "child crash"
INTERNAL = "INTERNAL"
SERVER = "server crash"

_FAULTS = (CRASH, INTERNAL, SERVER)
_SELDOM = (TIME_OUT, MEMORY)
_SELDOM_SHARE = 0.01
HUNGRY_BYTES = 1 << 29
FIRST_STAGE = "inspection"


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes:
        what: "accepted", "refused REASON" or one of the names above.
        stage: The step that ended it: "inspection", "intake" or "conversion".
        words: What was said of it.
        complaint: What is wrong with these words.
        peak_bytes: How much more memory was resident than before it; 0 when not known.
        before: What became of it the first time, where it was done twice.
    """

    what: str
    stage: str
    words: str = ""
    complaint: str = ""
    peak_bytes: int = 0
    seconds: float = 0.0
    before: str = ""

    @property
    def is_fault(self) -> bool:
        """Whether it ended in something that no file may bring about."""
        return self.what in (*_FAULTS, *_SELDOM)


@dataclass(frozen=True)
class Finding:
    """A case that somebody should look at."""

    case: str
    done: str
    why: str
    stage: str
    words: str


@dataclass(frozen=True)
class Served:
    """What was seen of a server process that cases were sent to.

    Attributes:
        status: What it ended with when it was asked to: 0 for a server that was whole.
        peak_bytes: Its resident memory at most.
        errors: Lines of its log that tell of a fault.
    """

    cases: int
    status: int
    peak_bytes: int
    errors: tuple[str, ...] = ()


@dataclass
class Tally:
    """The counts by kind, and what was found."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    past: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    servers: list[Served] = field(default_factory=list)
    unclear: int = 0
    slow_at_first: int = 0
    interrupted: bool = False

    def add(self, case: Case, outcome: Outcome, *, where: str = "") -> Finding | None:
        """Counts a case; gives the finding if it is one.

        Args:
            where: Stands behind the kind, for cases that were done elsewhere.
        """
        kind = case.kind + where
        self.counts.setdefault(kind, Counter())[outcome.what] += 1
        self.past[kind] = self.past.get(kind, 0) + (outcome.stage != FIRST_STAGE)
        self.slow_at_first += outcome.before == TIME_OUT and outcome.what != TIME_OUT
        self.unclear += bool(outcome.complaint)
        why = _why(outcome)
        if not why:
            return None
        found = Finding(case.name, case.done, why, outcome.stage, outcome.words)
        self.findings.append(found)
        return found

    @property
    def cases(self) -> int:
        """How many were counted."""
        return sum(counts.total() for counts in self.counts.values())

    def share(self, what: str) -> float:
        """Share of all cases with this outcome."""
        return sum(counts[what] for counts in self.counts.values()) / max(1, self.cases)

    @property
    def failed(self) -> bool:
        """Whether there is a fault, or more than 1 % ended in a limit."""
        return (
            any(self.share(what) > 0 for what in _FAULTS)
            or any(self.share(what) > _SELDOM_SHARE for what in _SELDOM)
            or any(each.status or each.errors for each in self.servers)
            or self.unclear > 0
        )

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "cases": self.cases,
            "interrupted": self.interrupted,
            "failed": self.failed,
            "counts": {kind: dict(counts) for kind, counts in self.counts.items()},
            "past_inspection": self.past,
            "slow_at_first": self.slow_at_first,
            "unclear": self.unclear,
            "servers": [asdict(each) for each in self.servers],
            "findings": [asdict(each) for each in self.findings],
        }

    def show(self, console: Console) -> None:
        """Prints a table of counts, what was seen of servers, and the findings."""
        console.print(self._table())
        for line in self.sentences():
            console.print(line, highlight=False, soft_wrap=True)
        for each in self.findings:
            words = (
                f"{each.case} {each.why} in {each.stage}: {each.words[:400]} [{each.done[:300]}]"
            )
            console.print(escape(printable(words)), soft_wrap=True)

    def sentences(self) -> list[str]:
        """What the table does not say."""
        limits = ", ".join(f"{what}s {self.share(what):.2%}" for what in _SELDOM)
        said = [f"{limits} of {self.cases} cases, at most {_SELDOM_SHARE:.0%} each."]
        if self.slow_at_first:
            said.append(f"{self.slow_at_first} cases were too slow once, and not when done again.")
        if self.unclear:
            said.append(f"{self.unclear} refusals in words of no use.")
        return [*said, *self._of_servers()]

    def _of_servers(self) -> list[str]:
        sent = sum(each.cases for each in self.servers)
        if not sent:
            return ["No case went through a server."]
        ended = ", ".join(str(each.status) for each in self.servers)
        crashes = round(self.share(SERVER) * self.cases)
        peak = max(each.peak_bytes for each in self.servers) / 2**20
        return [
            f"{crashes} crashes of a server process: {sent} cases went through"
            f" {len(self.servers)}, which ended with status {ended} when asked to and held"
            f" {peak:.0f} MiB at most.",
            *(f"server log: {printable(line)}" for each in self.servers for line in each.errors),
        ]

    def _table(self) -> Table:
        table = Table(title=f"{self.cases} cases" + (", interrupted" * self.interrupted))
        table.add_column("outcome")
        for kind in self.counts:
            table.add_column(kind, justify="right")
        table.add_column("share", justify="right")
        for what in self._rows():
            row = [str(counts[what]) for counts in self.counts.values()]
            table.add_row(what, *row, f"{self.share(what):.1%}")
        table.add_section()
        past = [str(self.past[kind]) for kind in self.counts]
        table.add_row(
            "got past inspection", *past, f"{sum(self.past.values()) / max(1, self.cases):.1%}"
        )
        return table

    def _rows(self) -> list[str]:
        refused = {what for counts in self.counts.values() for what in counts}
        always = (ACCEPTED, *_SELDOM, *_FAULTS)
        return [ACCEPTED, *sorted(refused.difference(always)), *_SELDOM, *_FAULTS]


def _why(outcome: Outcome) -> str:
    if outcome.is_fault:
        again = outcome.before and f" (the first time {outcome.before})"
        return outcome.what + again
    if outcome.complaint:
        return f"{outcome.what}, but {outcome.complaint}"
    if outcome.peak_bytes > HUNGRY_BYTES:
        return f"{outcome.what}, but {outcome.peak_bytes / 2**30:.1f} GiB were touched"
    return ""
