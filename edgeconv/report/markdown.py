"""The result as Markdown, for pull requests and job summaries."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgeconv.report import cells
from edgeconv.report.legend import legend
from edgeconv.report.printable import printable
from edgeconv.report.remarks import remarks
from edgeconv.report.rows import Row, devices, rows
from edgeconv.results.job import JobResult

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&])")


def render_markdown(result: JobResult) -> str:
    """A heading, the table and the remarks. Nothing in a name is read as Markdown or HTML."""
    return "\n".join(_lines(result)) + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _SPECIAL.sub(r"\\\1", printable(text))


def _lines(result: JobResult) -> Iterator[str]:
    parts = (
        cells.STATE_WORDS[result.state],
        cells.counts_text(result),
        cells.duration_text(result),
    )
    yield f"### {escape(result.model_version)}: {', '.join(part for part in parts if part)}"
    yield ""
    table = rows(result)
    several = len(devices(result)) > 1
    headings = ["", "variant", "target", "state", *(["device"] if several else [])]
    figures = [cells.quality_heading(table), "argmax", "size", "p50", "p90", "peak memory"]
    yield _row([*headings, *map(escape, figures)])
    yield _row([*("---" for _ in headings), *("---:" for _ in figures)])
    for row in table:
        yield _row(_cells(row, several))
    yield ""
    yield escape(" ".join(legend(result)))
    yield ""
    for remark in remarks(result):
        names = ", ".join(escape(name) for name in remark.subjects)
        yield f"- **{names}**: {escape(remark.message)}"


def _cells(row: Row, several: bool) -> list[str]:
    variant = row.variant
    device = row.benchmark.device if row.benchmark else cells.ABSENT
    return [
        "★" if variant.on_pareto_front else "",
        escape(variant.recipe_variant),
        escape(variant.target),
        cells.state_text(variant),
        *([escape(device)] if several else []),
        cells.quality_text(row.quality),
        cells.share_text(row.argmax_agreement),
        cells.size_text(row),
        cells.percentile_text(row, 50),
        cells.percentile_text(row, 90),
        cells.memory_text(row),
    ]


def _row(values: list[str]) -> str:
    return f"| {' | '.join(values)} |"
