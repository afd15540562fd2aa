"""How figures are written."""

from __future__ import annotations

import numpy as np
import pytest

from edgeconv.analysis.agreement import centred_snr_db
from edgeconv.report import cells
from edgeconv.report.rows import Quality, Removed, Row
from edgeconv.results.benchmark import BenchmarkSummary, Percentile
from edgeconv.results.job import BenchmarkResult, BenchmarkState, JobResult, VariantResult


def _row(benchmark: BenchmarkResult | None = None, size: int = 0) -> Row:
    variant = VariantResult(
        name="a.onnx", recipe_variant="a", target="onnx", precision="fp32", state="verified",
        size_bytes=size,
    )  # fmt: skip
    return Row(variant, benchmark, None, None, 0.271 if size else None, None, None)


def _measured(*percentiles: Percentile, state: BenchmarkState = "succeeded") -> BenchmarkResult:
    summary = BenchmarkSummary(percentiles=percentiles, peak_memory_bytes=12 << 20)
    return BenchmarkResult(
        name="benchmarks/b", state=state, summary=summary if percentiles else None
    )


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        (None, "–"),
        (Quality("SNR", 38.84), "38.8 dB"),
        (Quality("SNR", 300.0), "≥ 300 dB"),
        (Quality("accuracy", 0.979, 0.983), "97.9 % (−0.4 pt)"),
        (Quality("accuracy", 0.985, 0.983), "98.5 % (+0.2 pt)"),
        (Quality("accuracy", 0.9831, 0.983), "98.3 % (≈ same)"),
        (Quality("accuracy", 0.983, 0.983), "98.3 % (same)"),
        (Quality("equal", 1.0), "100.0 %"),
    ],
)
def test_quality(quality: Quality | None, words: str) -> None:
    assert cells.quality_text(quality) == words


def test_the_ratio_of_equal_outputs_is_told_as_a_bound() -> None:
    outputs = np.arange(6.0).reshape(2, 3)
    assert cells.ratio_text(centred_snr_db(outputs, outputs)) == "≥ 300 dB"


def test_a_share_is_never_rounded_up_to_all() -> None:
    assert cells.share_text(0.99999) == "99.9 %"
    assert cells.share_text(1.0) == "100.0 %"
    assert cells.share_text(0.0) == "0.0 %"


def test_a_percentile_without_samples_to_carry_it_says_so() -> None:
    row = _row(_measured(Percentile(percent=50, value_ns=1_320_000, low_ns=1_300_000,
                                    high_ns=1_340_000, samples=38),
                         Percentile(percent=90, samples=38)))  # fmt: skip
    assert cells.percentile_text(row, 50) == "1.32 ms"
    assert cells.percentile_text(row, 90) == "n/a (n=38)"
    assert cells.interval_text(row, 50) == "1.30 ms to 1.34 ms"
    assert cells.interval_text(row, 90) == ""
    assert cells.memory_text(row) == "12 MiB"


def test_where_nothing_was_measured_the_state_stands() -> None:
    assert cells.percentile_text(_row(), 50) == "–"
    assert cells.percentile_text(_row(_measured(state="failed")), 50) == "failed"
    assert cells.percentile_text(_row(_measured(state="failed")), 90) == "–"
    assert cells.memory_text(_row()) == "–"


def test_size_and_ratio() -> None:
    assert cells.size_text(_row(size=158_000)) == "154 KiB (0.27×)"
    assert cells.size_text(_row()) == "–"


def test_what_was_removed() -> None:
    full = Removed(100, 52, 112, 560)
    assert cells.removed_text(full) == "MACs −48 %, 112 of 560 channels removed"
    assert cells.removed_text(Removed(channels_removed=8)) == "8 channels removed"
    assert cells.removed_text(None) == ""


def test_times_are_utc_and_durations_round() -> None:
    job = JobResult(name="conversions/c", model_version="models/m/versions/1", state="succeeded",
                    created_ns=1_795_262_400_000_000_000,
                    ended_ns=1_795_262_502_400_000_000)  # fmt: skip
    assert cells.time_text(job.created_ns) == "2026-11-21 12:00 UTC"
    assert cells.duration_text(job) == "1 min 42 s"
    assert cells.time_text(0) == ""
    assert cells.duration_text(job.model_copy(update={"ended_ns": 0})) == ""


def test_the_heading_names_the_metric_only_when_there_is_one() -> None:
    accuracy = Row(**{**vars(_row()), "quality": Quality("top5_accuracy", 0.9)})
    ratio = Row(**{**vars(_row()), "quality": Quality("SNR", 40)})
    assert cells.quality_heading([accuracy, accuracy]) == "top5 accuracy"
    assert cells.quality_heading([accuracy, ratio]) == "quality"
    assert cells.quality_heading([]) == "quality"
