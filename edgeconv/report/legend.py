"""What the columns of the table mean, and what their figures were told on; sentences."""

from __future__ import annotations

from edgeconv.report import cells
from edgeconv.report.rows import devices, rows
from edgeconv.results.agreement import Agreement
from edgeconv.results.job import JobResult


def legend(result: JobResult) -> list[str]:
    """What stands under the table, whatever its form."""
    lines = ["argmax: share of samples whose largest output is the source's."]
    lines += quality_lines(result)
    if any(variant.on_pareto_front for variant in result.variants):
        lines.append("★ on the Pareto front of quality, latency and size.")
    named = devices(result)
    if len(named) == 1:
        lines.append(f"Measured on {named[0]}.")
    return lines


def quality_lines(result: JobResult) -> list[str]:
    """How many samples, and of what kind, the variants were compared with the source on."""
    agreements = [variant.agreement for variant in result.variants if variant.agreement]
    told = list(dict.fromkeys(_told_on(each) for each in agreements if each.samples))
    if any(row.quality and row.quality.reference is not None for row in rows(result)):
        told.append("In brackets: percentage points against the source.")
    return told


def _told_on(agreement: Agreement) -> str:
    synthetic = agreement.samples_origin == "synthetic"
    word = f"{'synthetic ' * synthetic}sample{'s' * (agreement.samples != 1)}"
    count = f"{agreement.samples:,} {word}"
    if synthetic:
        return f"There was no data to evaluate on: the figures come from {count}; give --data."
    if agreement.metric:
        return f"{cells.metric_text(agreement.metric)}: on {count} with labels."
    return f"Compared with the source on {count} of the data."
