"""Computes a summary from a raw record. Pure; standard library and pydantic."""

from __future__ import annotations

from collections.abc import Sequence

from edgeconv.analysis.comparison import SpeedComparison, compare_speed
from edgeconv.analysis.order_statistics import median
from edgeconv.analysis.percentiles import percentile_across
from edgeconv.bench.record import (
    COLD_LOAD,
    FIRST_INFERENCE,
    IMPORT,
    PHASES,
    STEADY,
    Block,
    PhaseRecord,
    Record,
    phase_of,
)
from edgeconv.bench.verdict import verdict
from edgeconv.results.benchmark import BenchmarkSummary, Percentile, PhaseSummary

PERCENTS = (50.0, 90.0, 99.0)


def summarize(record: Record) -> BenchmarkSummary:
    """What the raw samples come to.

    `user_visible_ns` is cold load plus first inference, `peak_memory_bytes` the largest
    high-water mark after the imports above what the process held before it loaded the
    model, without the input arrays; both are medians across processes.
    """
    blocks = record["blocks"]
    steady = [phase["wall_ns"] for phase in _phases(blocks, STEADY)]
    word, reasons = verdict(record)
    last = blocks[-1] if blocks else None
    return BenchmarkSummary(
        percentiles=tuple(_percentile(steady, percent) for percent in PERCENTS),
        phases=tuple(_phase_summary(blocks, name) for name in PHASES),
        user_visible_ns=_middle([_user_visible_ns(block) for block in blocks]) or 0,
        peak_memory_bytes=_middle([_peak_bytes(block) for block in blocks]) or 0,
        processes=len(blocks),
        samples=sum(len(samples) for samples in steady),
        involuntary_switches=sum(
            phase["involuntary_switches"] for phase in _phases(blocks, STEADY)
        ),
        verdict=word,
        reasons=reasons,
        runtime=last["runtime"] if last else "",
        delegate_parts=last["delegate_parts"] if last else None,
    )


def compare(baseline: Record, candidate: Record) -> SpeedComparison:
    """Whether the candidate is faster, from records of blocks that were measured in turn.

    Raises:
        ValueError: the records do not hold the same number of blocks, or none.
    """
    return compare_speed(
        [phase["wall_ns"] for phase in _phases(baseline["blocks"], STEADY)],
        [phase["wall_ns"] for phase in _phases(candidate["blocks"], STEADY)],
    )


def _phases(blocks: Sequence[Block], name: str) -> list[PhaseRecord]:
    return [phase for block in blocks if (phase := phase_of(block, name)) is not None]


def _percentile(processes: Sequence[Sequence[int]], percent: float) -> Percentile:
    estimate = percentile_across(processes, percent)
    if estimate.value is None:
        return Percentile(percent=percent, samples=estimate.samples)
    interval = estimate.interval
    return Percentile(
        percent=percent,
        value_ns=round(estimate.value),
        low_ns=None if interval is None else round(interval.low),
        high_ns=None if interval is None else round(interval.high),
        samples=estimate.samples,
    )


def _phase_summary(blocks: Sequence[Block], name: str) -> PhaseSummary:
    phases = _phases(blocks, name)
    wall = [sample for phase in phases for sample in phase["wall_ns"]]
    return PhaseSummary(
        phase=name,
        samples=len(wall),
        median_ns=_middle(wall),
        median_cpu_ns=_middle([sample for phase in phases for sample in phase["cpu_ns"]]),
        peak_memory_bytes=_middle([phase["peak_bytes"] for phase in phases]),
        peak_file_bytes=_middle([phase["file_bytes"] for phase in phases]),
    )


def _user_visible_ns(block: Block) -> int:
    parts = (phase_of(block, COLD_LOAD), phase_of(block, FIRST_INFERENCE))
    return sum(sum(phase["wall_ns"]) for phase in parts if phase is not None)


def _peak_bytes(block: Block) -> int:
    """The block's high-water mark above its baseline; the model's own memory."""
    above = [
        # The inputs are made once the cold load has told their shapes.
        phase["peak_bytes"] - (0 if phase["phase"] == COLD_LOAD else block["inputs_bytes"])
        for phase in block["phases"]
        if phase["phase"] != IMPORT
    ]
    return max(max(above, default=0) - block["baseline_bytes"], 0)


def _middle(values: Sequence[int]) -> int | None:
    return round(median(values)) if values else None
