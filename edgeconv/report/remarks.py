"""What a table can't hold: what was removed, what failed, what a user should look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgeconv.base.sentences import clauses, sentences
from edgeconv.report import cells
from edgeconv.report.rows import Row, rows, variant_notes
from edgeconv.results.job import JobResult

Tone = Literal["plain", "warn", "bad"]
_LOUD_NOTES = ("slower", "unstable", "flagged", "fallback", "not_delegated")
_TONES: dict[str, Tone] = {"failed": "bad", "refused": "warn", "cancelled": "warn"}


@dataclass(frozen=True)
class Remark:
    """One sentence about some variants, or about the whole job."""

    subjects: tuple[str, ...]
    message: str
    tone: Tone = "plain"


def remarks(result: JobResult) -> list[Remark]:
    """All remarks in the variants' order; the same words for several variants stand once."""
    subjects: dict[tuple[str, Tone], list[str]] = {}
    for remark in _said(result):
        names = subjects.setdefault((remark.message, remark.tone), [])
        names += [name for name in remark.subjects if name not in names]
    return [Remark(tuple(names), message, tone) for (message, tone), names in subjects.items()]


def _said(result: JobResult) -> Iterator[Remark]:
    for row in rows(result):
        yield from _said_of(row)
    for note in result.notes:
        yield Remark((result.name,), note.message)
    if result.error:
        yield Remark((result.name,), sentences(result.error.message, result.error.fix), "bad")


def _said_of(row: Row) -> Iterator[Remark]:
    variant, name = row.variant, (row.variant.name,)
    if words := cells.removed_text(row.removed):
        yield Remark(name, words)
    if error := cells.error_text(variant):
        yield Remark(name, f"{variant.state}: {error}", _TONES.get(variant.state, "plain"))
    if row.benchmark and row.benchmark.error:
        yield Remark(name, f"not measured: {row.benchmark.error.message}", "warn")
    told = any(note.kind == "unstable" for note in variant.notes)
    if row.summary and row.summary.reasons and not told:
        words = f"{row.summary.verdict}: {clauses(row.summary.reasons)}."
        yield Remark(name, words, "warn")
    for note in variant_notes(variant):
        if note.kind in _LOUD_NOTES:
            kind = note.kind.replace("_", " ")
            prefixes = [word for word in (kind, note.subject) if word not in note.message]
            yield Remark(name, ": ".join([*prefixes, note.message]))
