"""A conversion's events as lines on standard error, with a bar for what runs now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeconv.base.quantities import format_ns
from edgeconv.report.printable import printable
from edgeconv.results.wire import enum_word

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edgeconv.cli.terminal import Terminal
    from edgeconv.v1.conversions_pb2 import ConversionEvent

_STATE_LINES = {
    "converting": "Converting",
    "benchmarking": "Measuring",
    "queued": "Waiting for a worker",
}
_VARIANT_STYLES = {"verified": "green", "failed": "red", "refused": "yellow", "cancelled": "yellow"}


@dataclass(frozen=True)
class Line:
    """A line about something that happened."""

    mark: str
    subject: str
    message: str
    style: str = ""


def line_of(event: ConversionEvent) -> Line | None:
    """What an event is worth saying; None for what only moves the bar."""
    kind = event.WhichOneof("kind")
    if kind == "state_changed":
        words = _STATE_LINES.get(enum_word(event.state_changed, "state"))
        return Line("", words, "", "bold") if words else None
    if kind == "step_changed":
        return _step_line(event)
    if kind == "variant_changed":
        variant = event.variant_changed
        state = enum_word(variant, "state")
        if state == "pending":
            return None
        mark = "✓" if state == "verified" else "✗"
        words = f"{state}: {variant.message}" if variant.message else state
        return Line(mark, variant.variant, words, _VARIANT_STYLES.get(state, ""))
    if kind == "benchmark_changed":
        return _benchmark_line(event)
    return None


def running_of(event: ConversionEvent) -> tuple[str, float | None] | None:
    """What an event says is running now, and how far it is; None when it does not tell."""
    kind = event.WhichOneof("kind")
    if kind == "progress":
        words = f"{event.progress.subject}: {event.progress.message}".strip(": ")
        fraction = event.progress.fraction
        return words, fraction if fraction >= 0 else None
    if kind == "step_changed" and event.step_changed.change == "started":
        return event.step_changed.step, None
    if kind == "benchmark_changed":
        changed = event.benchmark_changed
        state = enum_word(changed, "state")
        if state == "leased":
            return f"measuring {changed.variant}", None
        if state == "queued" and changed.message:
            return f"{changed.variant}: {changed.message}", None
    return None


def wait_of(event: ConversionEvent) -> tuple[str, str, str] | None:
    """What an event tells of a wait: (resource or step, its name for people, words).

    The words are empty when it waits no more. None when it does not tell.
    """
    kind = event.WhichOneof("kind")
    if kind == "benchmark_changed":
        changed = event.benchmark_changed
        queued = enum_word(changed, "state") == "queued"
        return changed.benchmark, changed.variant, changed.message if queued else ""
    if kind == "progress":
        progress = event.progress
        waits = progress.fraction < 0 and "waiting for" in progress.message
        return progress.subject, progress.subject, progress.message if waits else ""
    if kind == "step_changed":
        return event.step_changed.step, event.step_changed.step, ""
    return None


@dataclass
class Waits:
    """What waits now, and why. The same reason is said once, however many wait for it."""

    reasons: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def take(self, event: ConversionEvent) -> Line | None:
        """What is to be said of a wait that an event tells of."""
        if (told := wait_of(event)) is None:
            return None
        who, name, words = told
        # A benchmark has its variant's name for people; its progress does not tell it.
        name = self.names.setdefault(who, name)
        if not words:
            self.reasons.pop(who, None)
            return None
        new = words not in self.reasons.values()
        self.reasons[who] = words
        return Line("…", name, words, "yellow") if new else None


class JobProgress:
    """Shows events as they come; use it inside `showing`."""

    def __init__(self, terminal: Terminal, bars: Progress, task: TaskID) -> None:
        self._terminal = terminal
        self._bars = bars
        self._task = task
        self._waits = Waits()

    def take(self, event: ConversionEvent) -> None:
        """Shows one event."""
        from rich.text import Text

        wait = self._waits.take(event)
        if line := line_of(event) or wait:
            words = Text.assemble(
                (f"{line.mark:2}" if line.mark else "", line.style),
                (printable(line.subject), "" if line.mark else line.style),
                f"  {printable(line.message)}" if line.message else "",
            )
            self._terminal.err.print(words, soft_wrap=True)
        if running := running_of(event):
            words_now, fraction = running
            self._bars.update(
                self._task,
                description=printable(words_now),
                total=None if fraction is None else 1.0,
                completed=fraction or 0.0,
                visible=True,
            )


@contextmanager
def showing(terminal: Terminal) -> Iterator[JobProgress]:
    """A place for events, with a live bar where standard error is a terminal."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        console=terminal.err,
        transient=True,
        disable=not terminal.err.is_terminal,
    )
    with bars:
        yield JobProgress(terminal, bars, bars.add_task("", total=None, visible=False))


def _step_line(event: ConversionEvent) -> Line | None:
    step = event.step_changed
    if step.change == "started":
        return None
    took = step.wall_time.ToNanoseconds()
    words = "  ".join(part for part in (step.message, format_ns(took) if took else "") if part)
    if step.change == "reused":
        return Line("=", step.step, "remembered from an earlier job", "dim")
    mark, style = ("✗", "red") if step.change == "failed" else ("✓", "green")
    return Line(mark, step.step, words, style)


def _benchmark_line(event: ConversionEvent) -> Line | None:
    benchmark = event.benchmark_changed
    state = enum_word(benchmark, "state")
    if state == "succeeded":
        return Line("✓", benchmark.variant, f"measured  {benchmark.message}".strip(), "green")
    if state in ("failed", "cancelled"):
        words = f"measurement {state}: {benchmark.message}".strip(": ")
        return Line("✗", benchmark.variant, words, "red")
    return None
