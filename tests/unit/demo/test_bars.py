"""What the demo promises is judged as the words say."""

from __future__ import annotations

import pytest

from demo.bars import DIGITS, TEXT_DIRECTION, Bar, bars
from edgeconv.results.agreement import Agreement
from edgeconv.results.benchmark import BenchmarkSummary, Percentile
from edgeconv.results.effect import Effect, Note
from edgeconv.results.job import BenchmarkResult, JobResult, VariantResult

PRUNED = Effect(
    step="prune",
    summary="removed 40 of 200 channels",
    changed=40,
    figures={"channels_removed": 40, "channels_before": 200, "macs_before": 9e6, "macs_after": 6e6},
)


def variant(
    name: str,
    accuracy: float,
    *,
    size: int = 1000,
    median_ns: int = 1000,
    parent: str = "",
    notes: tuple[Note, ...] = (),
    effects: tuple[Effect, ...] = (),
) -> VariantResult:
    recipe_variant, _, target = name.partition(".")
    median = Percentile(percent=50, value_ns=median_ns, low_ns=median_ns, high_ns=median_ns)
    summary = BenchmarkSummary(percentiles=(median,), verdict="stable")
    return VariantResult(
        name=name,
        recipe_variant=recipe_variant,
        target=target,
        precision="fp32",
        state="verified",
        size_bytes=size,
        parent=parent,
        notes=notes,
        effects=effects,
        agreement=Agreement(metric="accuracy", metric_value=accuracy, passed=True),
        benchmarks=(BenchmarkResult(name="b", device="here", state="succeeded", summary=summary),),
    )


def result(*variants: VariantResult) -> JobResult:
    return JobResult(name="j", model_version="m", state="succeeded", variants=variants)


def good() -> tuple[VariantResult, ...]:
    return (
        variant("fp32.tflite", 0.98),
        variant("int8.tflite", 0.965, size=300, parent="fp32.tflite"),
        variant("prune20-int8.tflite", 0.951, size=200, parent="int8.tflite", effects=(PRUNED,)),
    )


def judge(*variants: VariantResult) -> list[Bar]:
    return bars(result(*variants), TEXT_DIRECTION, judge_accuracy=True)


def broken(found: list[Bar]) -> list[str]:
    return [bar.words for bar in found if bar.held is False]


def test_all_promises_hold_at_their_very_limits() -> None:
    assert broken(judge(*good())) == []


@pytest.mark.parametrize("accuracy", [0.949, 0.991])
def test_source_outside_its_range_breaks_a_promise(accuracy: float) -> None:
    fp32, *_ = good()
    found = judge(variant("fp32.tflite", accuracy))
    assert fp32.name in broken(found)[0]


def test_a_drop_above_the_bound_is_named_with_its_points() -> None:
    fp32, _, pruned = good()
    int8 = variant("int8.tflite", 0.964, size=300, parent="fp32.tflite")
    [words] = broken(judge(fp32, int8, pruned))
    assert "int8.tflite" in words
    assert "+1.6 points lost" in words


def test_int8_file_that_did_not_shrink_breaks_a_promise() -> None:
    fp32, _, pruned = good()
    int8 = variant("int8.tflite", 0.97, size=400, parent="fp32.tflite")
    [words] = broken(judge(fp32, int8, pruned))
    assert "0.40 × the size" in words


def test_slower_variant_has_to_be_flagged() -> None:
    fp32, _, pruned = good()
    slow = variant("int8.tflite", 0.97, size=300, parent="fp32.tflite", median_ns=1500)
    [words] = broken(judge(fp32, slow, pruned))
    assert "without being flagged: int8.tflite" in words
    note = Note(kind="slower", message="slower than fp32.tflite")
    flagged = slow.model_copy(update={"notes": (note,)})
    assert broken(judge(fp32, flagged, pruned)) == []


def test_a_few_percent_more_need_no_flag() -> None:
    fp32, _, pruned = good()
    close = variant("int8.tflite", 0.97, size=300, parent="fp32.tflite", median_ns=1049)
    assert broken(judge(fp32, close, pruned)) == []


def test_pruned_variant_says_what_was_removed() -> None:
    [words] = [bar.words for bar in judge(*good()) if "channels removed" in bar.words]
    assert "40 of 200 channels removed; MACs 9.00 M → 6.00 M (-33%)" in words


def test_pruned_variant_without_figures_breaks_a_promise() -> None:
    fp32, int8, pruned = good()
    assert broken(judge(fp32, int8, pruned.model_copy(update={"effects": ()})))


def test_missing_variant_and_partial_job_break_promises() -> None:
    fp32, int8, _ = good()
    job = result(fp32, int8).model_copy(update={"state": "partly_succeeded"})
    words = broken(bars(job, DIGITS, judge_accuracy=True))
    assert any("prune50-int8" in each for each in words)
    assert any("made and verified" in each for each in words)


def test_small_test_sets_are_printed_but_not_judged() -> None:
    _, int8, pruned = good()
    job = result(variant("fp32.tflite", 0.5), int8, pruned)
    found = bars(job, TEXT_DIRECTION, judge_accuracy=False)
    assert broken(found) == []
    assert any(bar.held is None and "50.0%" in bar.words for bar in found)
