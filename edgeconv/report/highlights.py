"""The few figures a reader looks for first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgeconv.report import cells
from edgeconv.report.rows import Row, is_flagged


@dataclass(frozen=True)
class Highlight:
    """A figure: what it is, its value, and the variant it belongs to with a remark."""

    title: str
    value: str
    variant: str
    remark: str


def highlights(table: Sequence[Row]) -> list[Highlight]:
    """Best quality, fastest and smallest among the verified variants; as many as there are.

    One that is flagged has the word in its remark.
    """
    verified = [row for row in table if row.variant.state == "verified"]
    found = []
    if rated := [row for row in verified if row.quality and row.quality.is_share]:
        best = _first_best(rated, lambda row: -(row.quality.value if row.quality else 0))
        heading = f"Best {cells.quality_heading([best])}"
        value = cells.share_text(best.quality.value if best.quality else None)
        found.append(_highlight(heading, value, best, _quality_remark(best)))
    if timed := [row for row in verified if _median_ns(row)]:
        fastest = _first_best(timed, _median_ns)
        value = cells.percentile_text(fastest, 50)
        found.append(_highlight("Fastest", value, fastest, _summary_of(fastest)))
    if sized := [row for row in verified if row.variant.size_bytes]:
        smallest = _first_best(sized, lambda row: row.variant.size_bytes)
        value, _, ratio = cells.size_text(smallest).partition(" (")
        remark = f"{ratio.rstrip(')')} the size of fp32" if ratio else ""
        found.append(_highlight("Smallest", value, smallest, remark))
    return found


def _highlight(title: str, value: str, row: Row, remark: str) -> Highlight:
    if is_flagged(row.variant):
        remark = ", ".join(part for part in ("flagged, see its notes", remark) if part)
    return Highlight(title, value, row.variant.name, remark)


def _first_best(table: Iterable[Row], key: Callable[[Row], float]) -> Row:
    return min(table, key=key)


def _median_ns(row: Row) -> int:
    percentile = row.percentile(50)
    return (percentile.value_ns or 0) if percentile else 0


def _quality_remark(row: Row) -> str:
    reference = row.quality.reference if row.quality else None
    return f"source {cells.share_text(reference)}" if reference is not None else ""


def _summary_of(row: Row) -> str:
    parts = []
    if row.quality:
        parts.append(f"{cells.quality_heading([row])} {cells.quality_text(row.quality)}")
    if row.latency_ratio:
        parts.append(f"{row.latency_ratio:.2f}× its parent")
    return ", ".join(parts)
