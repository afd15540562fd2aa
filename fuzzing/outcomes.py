"""What became of the cases, counted and shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgeconv.report.printable import printable

ACCEPTED = "accepted"
TIME_OUT = "time-out"
MEMORY = "memory limit"
CRASH = "child crash"
INTERNAL = "INTERNAL"
SERVER = "server crash"

_FAULTS = (INTERNAL, SERVER)
_SELDOM = (TIME_OUT, MEMORY, CRASH)
_SELDOM_SHARE = 0.01
HUNGRY_BYTES = 1 << 29
LONGEST_MESSAGE = 2000


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes:
        what: "accepted", "refused REASON" or one of the names above.
        stage: The step that ended it.
        words: What was said of it.
        peak_bytes: How much more memory was resident than before it; 0 when not known.
    """

    what: str
    stage: str
    words: str = ""
    peak_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Finding:
    """A case that somebody should look at."""

    case: str
    done: str
    why: str
    stage: str
    words: str


@dataclass
class Tally:
    """The counts by kind, and what was found."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    interrupted: bool = False

    def add(self, case: str, kind: str, done: str, outcome: Outcome) -> Finding | None:
        """Counts a case; gives the finding if it is one."""
        self.counts.setdefault(kind, Counter())[outcome.what] += 1
        why = _why(outcome)
        if not why:
            return None
        found = Finding(case, done, why, outcome.stage, outcome.words)
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
        """Whether there is a fault, or more than 1 % ended in a limit or a crash."""
        return any(self.share(what) > 0 for what in _FAULTS) or any(
            self.share(what) > _SELDOM_SHARE for what in _SELDOM
        )

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "cases": self.cases,
            "interrupted": self.interrupted,
            "counts": {kind: dict(counts) for kind, counts in self.counts.items()},
            "findings": [asdict(each) for each in self.findings],
        }

    def show(self, console: Console) -> None:
        """Prints a table of counts, and the findings below it."""
        table = Table(title=f"{self.cases} cases" + (", interrupted" * self.interrupted))
        table.add_column("outcome")
        for kind in self.counts:
            table.add_column(kind, justify="right")
        table.add_column("share", justify="right")
        for what in self._rows():
            row = [str(counts[what]) for counts in self.counts.values()]
            table.add_row(what, *row, f"{self.share(what):.1%}")
        console.print(table)
        for each in self.findings:
            words = (
                f"{each.case} {each.why} in {each.stage}: {each.words[:400]} [{each.done[:300]}]"
            )
            console.print(escape(printable(words)), soft_wrap=True)

    def _rows(self) -> list[str]:
        refused = {what for counts in self.counts.values() for what in counts}
        always = (ACCEPTED, *_SELDOM, *_FAULTS)
        return [ACCEPTED, *sorted(refused.difference(always)), *_SELDOM, *_FAULTS]


def _why(outcome: Outcome) -> str:
    if outcome.what in (*_FAULTS, *_SELDOM):
        return outcome.what
    if outcome.peak_bytes > HUNGRY_BYTES:
        return f"{outcome.what}, but {outcome.peak_bytes / 2**30:.1f} GiB were touched"
    if len(outcome.words) > LONGEST_MESSAGE:
        return f"{outcome.what}, but in {len(outcome.words)} characters"
    return ""
