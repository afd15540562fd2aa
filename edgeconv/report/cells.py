"""How a row's figures are written; the same in every form of the report."""

from __future__ import annotations

from datetime import UTC, datetime

from edgeconv.base.quantities import MOST_DB, format_bytes, format_ns
from edgeconv.base.sentences import sentences
from edgeconv.report.rows import Quality, Removed, Row, is_flagged
from edgeconv.results.benchmark import BenchmarkSummary, Percentile
from edgeconv.results.job import JobResult, VariantResult

ABSENT = "–"
STATE_WORDS = {
    "queued": "queued",
    "converting": "converting",
    "benchmarking": "being measured",
    "succeeded": "done",
    "partly_succeeded": "partly done",
    "failed": "failed",
    "cancelled": "cancelled",
}


def quality_text(quality: Quality | None) -> str:
    """ "97.9 % (−0.4 pt)" for a metric with a reference, "38.8 dB", or "–"."""
    if quality is None:
        return ABSENT
    if not quality.is_share:
        return ratio_text(quality.value)
    text = share_text(quality.value)
    if quality.reference is None:
        return text
    return f"{text} ({difference_text(100 * (quality.value - quality.reference))})"


def ratio_text(snr_db: float | None) -> str:
    """A signal-to-noise ratio: "38.8 dB"; the largest one that is told is a lower bound."""
    if snr_db is None:
        return ABSENT
    return f"≥ {MOST_DB:.0f} dB" if snr_db >= MOST_DB else f"{snr_db:.1f} dB"


def quality_heading(table: list[Row]) -> str:
    """What the column of qualities is called: the metric's name, or "SNR"."""
    names = {row.quality.name for row in table if row.quality}
    return metric_text(names.pop()) if len(names) == 1 else "quality"


def metric_text(name: str) -> str:
    """The name of a figure of quality in words."""
    return name.replace("_", " ")


def share_text(value: float | None) -> str:
    """A share in percent with one digit; never rounded up to 100 %."""
    if value is None:
        return ABSENT
    percent = 100 * value
    return f"{min(percent, 99.9) if value < 1 else percent:.1f} %"


def difference_text(points: float) -> str:
    """ "+0.1 pt" or "−0.4 pt", a true minus; "same", or "≈ same" for one that rounds to none."""
    if abs(points) < 1e-9:
        return "same"
    rounded = f"{abs(points):.1f}"
    if rounded == "0.0":
        return "≈ same"
    return f"{'+' if points > 0 else '−'}{rounded} pt"


def state_text(variant: VariantResult) -> str:
    """The state; "verified, flagged" where notes ask for a look."""
    return f"{variant.state}, flagged" if needs_look(variant) else variant.state


def needs_look(variant: VariantResult) -> bool:
    """Whether a variant is verified and flagged all the same."""
    return variant.state == "verified" and is_flagged(variant)


def size_text(row: Row) -> str:
    """ "154 KiB (0.27×)"."""
    if not row.variant.size_bytes:
        return ABSENT
    size = format_bytes(row.variant.size_bytes)
    return size if row.size_ratio is None else f"{size} ({row.size_ratio:.2f}×)"


def percentile_text(row: Row, percent: float) -> str:
    """A percentile; "n/a (n=…)" when the samples could not carry it."""
    percentile = row.percentile(percent)
    if percentile is None:
        return benchmark_word(row) if percent == 50 else ABSENT
    if percentile.value_ns is None:
        return f"n/a (n={percentile.samples})"
    return format_ns(percentile.value_ns)


def interval_text(row: Row, percent: float) -> str:
    """The interval of a percentile across processes: "1.30 ms to 1.34 ms", or ""."""
    percentile = row.percentile(percent)
    words = ABSENT if percentile is None else between(percentile)
    return "" if words == ABSENT else words


def benchmark_word(row: Row) -> str:
    """Why there is no latency: the benchmark's state, or "–" when none was asked for."""
    if row.benchmark is None or row.benchmark.state == "succeeded":
        return ABSENT
    return row.benchmark.state


def memory_text(row: Row) -> str:
    """Peak memory above that of the imports."""
    return format_bytes(row.summary.peak_memory_bytes) if row.summary else ABSENT


def removed_text(removed: Removed | None) -> str:
    """ "MACs −48 %, 112 of 560 channels removed", or ""."""
    if removed is None:
        return ""
    parts = []
    if removed.macs_before and removed.macs_after is not None:
        parts.append(f"MACs −{100 * (1 - removed.macs_after / removed.macs_before):.0f} %")
    if removed.channels_removed:
        total = f" of {removed.channels_before:.0f}" if removed.channels_before else ""
        parts.append(f"{removed.channels_removed:.0f}{total} channels removed")
    return ", ".join(parts)


def error_text(variant: VariantResult) -> str:
    """Why a variant was not made and what to do, or ""."""
    return sentences(variant.error.message, variant.error.fix) if variant.error else ""


def counts_text(result: JobResult) -> str:
    """ "15 of 16 variants verified, 2 of them flagged"."""
    verified = sum(variant.state == "verified" for variant in result.variants)
    flagged = sum(map(needs_look, result.variants))
    of_them = f", {flagged} of them flagged" if flagged else ""
    return f"{verified} of {len(result.variants)} variants verified{of_them}"


def duration_text(result: JobResult) -> str:
    """How long the job took, or "" while it runs."""
    if not result.ended_ns or not result.created_ns:
        return ""
    seconds = round((result.ended_ns - result.created_ns) / 1e9)
    return f"{seconds // 60} min {seconds % 60} s" if seconds >= 60 else f"{seconds} s"


def time_text(time_ns: int) -> str:
    """A time in UTC to the minute, or ""."""
    if not time_ns:
        return ""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(value_ns: float | None) -> str:
    """A duration, or "–" for none."""
    return format_ns(value_ns) if value_ns else ABSENT


def summary_rows(summary: BenchmarkSummary) -> list[tuple[str, str, str, str]]:
    """Percentile, value, interval across processes, samples; "n/a" below what carries it."""
    return [
        (
            f"p{each.percent:g}",
            "n/a" if each.value_ns is None else format_ns(each.value_ns),
            between(each),
            str(each.samples),
        )
        for each in summary.percentiles
    ]


def between(percentile: Percentile) -> str:
    """The interval of a percentile: "1.30 ms to 1.34 ms", or "–"."""
    if percentile.low_ns is None or percentile.high_ns is None:
        return ABSENT
    return f"{format_ns(percentile.low_ns)} to {format_ns(percentile.high_ns)}"
