"""The result as a table for terminals and plain text."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeconv.report import cells
from edgeconv.report.legend import legend
from edgeconv.report.printable import printable
from edgeconv.report.remarks import remarks
from edgeconv.report.rows import Row, devices, rows
from edgeconv.report.uncut import print_uncut
from edgeconv.results.job import JobResult

_STATE_STYLES = {"verified": "green", "failed": "red", "refused": "yellow", "cancelled": "yellow"}
_TONE_STYLES = {"plain": "", "warn": "yellow", "bad": "red"}


def render_text(result: JobResult) -> str:
    """The table as plain text, without colours; lines are as long as they need to be."""
    stream = io.StringIO()
    print_table(result, Console(file=stream, width=120, color_system=None, legacy_windows=False))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def print_table(result: JobResult, console: Console) -> None:
    """Prints the table, what its marks mean, and the remarks.

    No column is cut: where the console is narrower than the table, its lines are longer.
    """
    unbroken = not console.is_terminal
    console.print(_head(result), soft_wrap=unbroken)
    print_uncut(console, _table(result))
    console.print(_legend(result), soft_wrap=unbroken)
    for remark in _remarks(result):
        console.print(remark, soft_wrap=unbroken)


def _head(result: JobResult) -> Text:
    parts = [
        printable(result.model_version),
        cells.STATE_WORDS[result.state],
        cells.counts_text(result),
        cells.duration_text(result),
    ]
    return Text("  ".join(part for part in parts if part), style="bold")


def _table(result: JobResult) -> Table:
    entries = rows(result)
    measured_by = devices(result)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("", no_wrap=True)
    table.add_column("variant", overflow="fold")
    table.add_column("target", no_wrap=True)
    table.add_column("state", no_wrap=True)
    if len(measured_by) > 1:
        table.add_column("device", overflow="fold")
    for heading in (cells.quality_heading(entries), "argmax", "size", "p50", "p90", "peak memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in entries:
        table.add_row(*_cells(row, len(measured_by) > 1))
    return table


def _cells(row: Row, with_device: bool) -> Iterator[Text]:
    variant = row.variant
    yield Text("★" if variant.on_pareto_front else "", style="yellow")
    yield Text(printable(variant.recipe_variant))
    yield Text(printable(variant.target))
    style = "yellow" if cells.needs_look(variant) else _STATE_STYLES.get(variant.state, "")
    yield Text(cells.state_text(variant), style=style)
    if with_device:
        yield Text(printable(row.benchmark.device) if row.benchmark else cells.ABSENT)
    yield Text(cells.quality_text(row.quality))
    yield Text(cells.share_text(row.argmax_agreement))
    yield Text(cells.size_text(row))
    yield Text(cells.percentile_text(row, 50), style="red" if row.is_slower else "")
    yield Text(cells.percentile_text(row, 90))
    yield Text(cells.memory_text(row))


def _legend(result: JobResult) -> Text:
    return Text(" ".join(map(printable, legend(result))), style="dim")


def _remarks(result: JobResult) -> Iterator[Text]:
    for remark in remarks(result):
        yield Text.assemble(
            (printable(", ".join(remark.subjects)), "bold"),
            "  ",
            (printable(remark.message), _TONE_STYLES[remark.tone]),
        )
