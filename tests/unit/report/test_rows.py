"""Rows: what is computed from a result before anything is written."""

from __future__ import annotations

from edgeconv.report.rows import devices, quality_of, root_of, rows, variant_notes
from edgeconv.results.agreement import Agreement, OutputAgreement
from edgeconv.results.benchmark import BenchmarkSummary, Percentile
from edgeconv.results.effect import Effect, Note
from edgeconv.results.job import BenchmarkResult, JobResult, VariantResult


def _variant(name: str, **fields: object) -> VariantResult:
    recipe_variant, _, target = name.rpartition(".")
    given = {"precision": "fp32", "state": "verified", **fields}
    return VariantResult.model_validate(
        {"name": name, "recipe_variant": recipe_variant, "target": target, **given}
    )


def _benchmark(p50_ns: int | None, device: str = "devices/a") -> BenchmarkResult:
    summary = BenchmarkSummary(percentiles=(Percentile(percent=50, value_ns=p50_ns, samples=9),))
    return BenchmarkResult(name="benchmarks/b", device=device, state="succeeded", summary=summary)


def _job(*variants: VariantResult) -> JobResult:
    return JobResult(
        name="conversions/c", model_version="models/m/versions/1", state="succeeded",
        variants=variants,
    )  # fmt: skip


def test_a_variant_has_a_row_for_each_device_and_one_when_not_measured() -> None:
    job = _job(
        _variant("fp32.onnx", benchmarks=(_benchmark(5), _benchmark(6, "devices/b"))),
        _variant("fp16.onnx"),
    )
    table = rows(job)
    assert [(row.variant.name, row.benchmark and row.benchmark.device) for row in table] == [
        ("fp32.onnx", "devices/a"), ("fp32.onnx", "devices/b"), ("fp16.onnx", None),
    ]  # fmt: skip
    assert devices(job) == ["devices/a", "devices/b"]


def test_sizes_compare_with_the_root_and_latency_with_the_parent() -> None:
    job = _job(
        _variant("fp32.onnx", size_bytes=1000, benchmarks=(_benchmark(100),)),
        _variant("int8.onnx", size_bytes=300, parent="fp32.onnx", benchmarks=(_benchmark(50),)),
        _variant("p-int8.onnx", size_bytes=200, parent="int8.onnx", benchmarks=(_benchmark(60),)),
    )
    fp32, int8, pruned = rows(job)
    assert (fp32.size_ratio, fp32.latency_ratio) == (None, None)
    assert (int8.size_ratio, int8.latency_ratio) == (0.3, 0.5)
    assert (pruned.size_ratio, pruned.latency_ratio) == (0.2, 1.2)


def test_latency_is_compared_on_the_same_device_only() -> None:
    job = _job(
        _variant("fp32.onnx", benchmarks=(_benchmark(100),)),
        _variant("int8.onnx", parent="fp32.onnx", benchmarks=(_benchmark(50, "devices/b"),)),
    )
    assert rows(job)[1].latency_ratio is None


def test_only_the_device_that_a_note_names_is_slower() -> None:
    note = Note(kind="slower", subject="devices/a", message="On devices/a it took 2.00 times.")
    both = (_benchmark(200), _benchmark(101, "devices/b"))
    job = _job(
        _variant("fp32.onnx", benchmarks=(_benchmark(100), _benchmark(100, "devices/b"))),
        _variant("int8.onnx", parent="fp32.onnx", benchmarks=both, notes=(note,)),
        _variant("fp16.onnx", notes=(note,)),
    )
    assert [row.is_slower for row in rows(job)] == [False, False, True, False, False]


def test_of_several_measurements_of_the_parent_the_last_counts() -> None:
    unmeasured = BenchmarkResult(name="benchmarks/b", device="devices/a", state="failed")
    job = _job(
        _variant("fp32.onnx", benchmarks=(_benchmark(100), _benchmark(50), unmeasured)),
        _variant("int8.onnx", parent="fp32.onnx", benchmarks=(_benchmark(75),)),
    )
    assert rows(job)[-1].latency_ratio == 1.5


def test_a_percentile_that_could_not_be_carried_gives_no_ratio() -> None:
    job = _job(
        _variant("fp32.onnx", benchmarks=(_benchmark(None),)),
        _variant("int8.onnx", parent="fp32.onnx", benchmarks=(_benchmark(50),)),
    )
    assert rows(job)[1].latency_ratio is None


def test_parents_in_a_circle_end() -> None:
    first = _variant("a.onnx", parent="b.onnx")
    second = _variant("b.onnx", parent="a.onnx")
    assert root_of(first, {"a.onnx": first, "b.onnx": second}).name == "b.onnx"


def test_quality_is_the_metric_then_the_worst_ratio_then_the_worst_share() -> None:
    ratios = (
        OutputAgreement(output="a", snr_db=40.0),
        OutputAgreement(output="b", snr_db=None, max_abs_error=0.0),
        OutputAgreement(output="c", snr_db=12.5),
    )
    metric = quality_of(
        Agreement(outputs=ratios, metric="accuracy", metric_value=0.9, metric_reference=0.95)
    )
    assert metric is not None
    assert (metric.name, metric.value, metric.reference) == ("accuracy", 0.9, 0.95)
    by_ratio = quality_of(Agreement(outputs=ratios))
    assert by_ratio is not None
    assert (by_ratio.name, by_ratio.value, by_ratio.is_share) == ("SNR", 12.5, False)
    by_share = quality_of(Agreement(outputs=(OutputAgreement(output="i", equal_share=0.75),)))
    assert by_share is not None
    assert (by_share.name, by_share.value) == ("equal", 0.75)
    assert quality_of(Agreement()) is None
    assert quality_of(None) is None


def test_removed_adds_up_over_passes() -> None:
    first = {"macs_before": 100.0, "macs_after": 60.0, "channels_before": 50, "channels_removed": 9}
    second = {"macs_before": 60.0, "macs_after": 40.0, "channels_before": 41, "channels_removed": 5}
    effects = tuple(
        Effect(step="prune", summary="", changed=1, figures=figures) for figures in (first, second)
    )
    removed = rows(_job(_variant("p.onnx", effects=effects)))[0].removed
    assert removed is not None
    assert (removed.macs_before, removed.macs_after) == (100.0, 40.0)
    assert (removed.channels_removed, removed.channels_before) == (14, 50)
    assert rows(_job(_variant("fp32.onnx")))[0].removed is None


def test_notes_come_from_all_places_once() -> None:
    note = Note(kind="locked", subject="conv", message="A reshape.")
    own = Note(kind="slower", message="Slower.")
    variant = _variant(
        "p.onnx",
        notes=(own,),
        effects=(Effect(step="prune", summary="", changed=1, notes=(note,)),),
        agreement=Agreement(notes=(note,)),
    )
    assert variant_notes(variant) == [own, note]
