"""How a conversion is judged when all has ended."""

from __future__ import annotations

from typing import Any

import pytest

from edgeconv.recipe.plan import PlannedVariant
from edgeconv.results.agreement import Agreement, OutputAgreement
from edgeconv.results.benchmark import BenchmarkSummary, Percentile
from edgeconv.server.judgement import final_state, judge
from edgeconv.server.records import BenchmarkRecord, FileRecord, VariantRecord


def _variant(
    name: str,
    *,
    snr_db: float | None = 90.0,
    metric: float | None = None,
    size: int = 100,
    parent: str = "",
    state: Any = "verified",
) -> VariantRecord:
    recipe_variant, _, target = name.partition(".")
    plan = PlannedVariant(
        name=name, recipe_variant=recipe_variant, target=target, precision="fp32",
        road="program", steps=(), artifact="a", verify="v", parent=parent,
    )  # fmt: skip
    output = OutputAgreement(output="y", snr_db=snr_db, passed=True)
    return VariantRecord(
        name=name, recipe_variant=recipe_variant, target=target, precision="fp32", plan=plan,
        state=state, files=(FileRecord(name="m", digest="d", size_bytes=size, parts=()),),
        agreement=Agreement(outputs=(output,), metric_value=metric, passed=True),
    )  # fmt: skip


def _measured(
    variant: str,
    p50: int | None,
    *,
    spread: int = 0,
    device: str = "devices/a",
    state: Any = "succeeded",
    **summary: Any,
) -> BenchmarkRecord:
    percentile = Percentile(
        percent=50, value_ns=p50, low_ns=p50 and p50 - spread, high_ns=p50 and p50 + spread
    )
    return BenchmarkRecord(
        seq=1, id=variant, conversion="c", variant=variant, title="", format="onnx", files=(),
        device_selector="any", request={}, priority=0, state=state, device=device, create_ns=0,
        summary=BenchmarkSummary(percentiles=(percentile,), **summary),
    )  # fmt: skip


def _front(variants: list[VariantRecord], benchmarks: list[BenchmarkRecord]) -> set[str]:
    return {each.name for each in judge(variants, benchmarks) if each.on_pareto_front}


def test_slower_than_its_parent_is_said() -> None:
    variants = [_variant("fp32.onnx"), _variant("int8.onnx", parent="fp32.onnx")]
    slow = [
        _measured("fp32.onnx", 1000, spread=50, processes=3),
        _measured("int8.onnx", 1200, spread=50, processes=3),
    ]
    (note,) = judge(variants, slow)[1].notes
    assert (note.kind, note.subject) == ("slower", "devices/a")
    assert "1.20 ×" in note.message
    assert "fp32.onnx" in note.message
    assert judge(variants, slow)[0].notes == ()


def test_times_of_different_devices_are_not_compared() -> None:
    variants = [_variant("fp32.onnx"), _variant("int8.onnx", parent="fp32.onnx")]
    benchmarks = [
        _measured("fp32.onnx", 1000, device="devices/a", processes=3),
        _measured("int8.onnx", 9000, device="devices/b", processes=3),
    ]
    assert judge(variants, benchmarks)[1].notes == ()


def test_an_unstable_measurement_is_said_with_its_reasons() -> None:
    benchmark = _measured("fp32.onnx", 1000, verdict="unstable", reasons=("It was hot.",))
    (note,) = judge([_variant("fp32.onnx")], [benchmark])[0].notes
    assert (note.kind, note.subject) == ("unstable", "devices/a")
    assert "It was hot." in note.message


def test_the_front_is_over_quality_latency_and_size() -> None:
    variants = [
        _variant("fp32.onnx", snr_db=140, size=400),
        _variant("int8.onnx", snr_db=40, size=100),
        _variant("bad.onnx", snr_db=30, size=200),
    ]
    benchmarks = [
        _measured("fp32.onnx", 1000),
        _measured("int8.onnx", 500),
        _measured("bad.onnx", 700),
    ]
    assert _front(variants, benchmarks) == {"fp32.onnx", "int8.onnx"}
    assert _front(variants, []) == {"fp32.onnx", "int8.onnx"}


def test_an_output_without_a_ratio_has_the_quality_of_its_error() -> None:
    def told(name: str, size: int, **figures: float) -> VariantRecord:
        output = OutputAgreement(output="y", passed=True, **figures)
        made = _variant(name, size=size)
        assert made.agreement is not None
        agreement = made.agreement.model_copy(update={"outputs": (output,)})
        return made.model_copy(update={"agreement": agreement})

    close = told("close.onnx", 100, max_abs_error=0.01, max_abs_reference=10)
    wrong = told("wrong.onnx", 200, max_abs_error=9, max_abs_reference=10)
    equal = told("equal.onnx", 300, max_abs_error=0, max_abs_reference=10)
    assert _front([close, wrong, equal], []) == {"close.onnx", "equal.onnx"}
    ids = told("ids.onnx", 300, equal_share=0.5)
    assert _front([close, ids], []) == {"close.onnx"}


SENT = FileRecord(name="npz", digest="s", size_bytes=1, parts=())


def _checked(benchmark: BenchmarkRecord, *, outputs_digest: str = "o") -> BenchmarkRecord:
    """The benchmark, with samples sent and outputs returned."""
    sent = {"samples": SENT, "outputs": SENT, "outputs_digest": outputs_digest}
    return benchmark.model_copy(update=sent)


@pytest.mark.parametrize("told", [(), ("Output 'y' is off.", "Output 'z' is off.")])
def test_a_doubted_device_is_flagged_and_its_variant_off_the_front(told: tuple[str, ...]) -> None:
    variants = [_variant("fp32.onnx"), _variant("big.onnx", snr_db=9, size=200)]
    fast = _checked(_measured("fp32.onnx", 500, device_doubts=told))
    (judged, other) = judge(variants, [fast, _measured("big.onnx", 1000)])
    assert [note.message for note in judged.notes] == [f"devices/a: {words}" for words in told]
    assert all((note.kind, note.subject) == ("flagged", "devices/a") for note in judged.notes)
    assert judged.on_pareto_front is not bool(told)
    # What only the doubted one dominated takes its place.
    assert other.on_pareto_front is bool(told)


def test_outputs_that_were_not_sent_are_said() -> None:
    variants = [_variant("fp32.onnx")]
    benchmark = _checked(_measured("fp32.onnx", 500), outputs_digest="")
    (judged,) = judge(variants, [benchmark])
    (note,) = judged.notes
    assert (note.kind, note.subject) == ("flagged", "devices/a")
    assert "not checked" in note.message
    assert not judged.on_pareto_front
    # Where nothing was asked for there is nothing to miss.
    assert judge(variants, [_measured("fp32.onnx", 500)])[0].notes == ()


def test_what_a_device_computed_last_counts() -> None:
    bad = _checked(_measured("fp32.onnx", 500, device_doubts=("It is off.",)))
    good = _checked(_measured("fp32.onnx", 500))
    assert judge([_variant("fp32.onnx")], [bad, good])[0].notes == ()
    assert judge([_variant("fp32.onnx")], [good, bad])[0].notes


def test_the_task_metric_is_the_quality_where_all_have_it() -> None:
    better = [_variant("a.onnx", snr_db=10, metric=0.9), _variant("b.onnx", snr_db=90, metric=0.8)]
    assert _front(better, []) == {"a.onnx"}
    some = [_variant("a.onnx", snr_db=10, metric=0.9), _variant("b.onnx", snr_db=90)]
    assert _front(some, []) == {"b.onnx"}


def test_what_was_not_measured_or_not_made_has_no_place_on_the_front() -> None:
    variants = [
        _variant("fp32.onnx"),
        _variant("unmeasured.onnx", size=1),
        _variant("failed.onnx", size=1, state="failed"),
        _variant("few.onnx", size=1),
    ]
    benchmarks = [_measured("fp32.onnx", 1000), _measured("few.onnx", None)]
    assert _front(variants, benchmarks) == {"fp32.onnx"}


@pytest.mark.parametrize(
    ("states", "benchmark", "cancelled", "final"),
    [
        (["verified", "verified"], None, False, "succeeded"),
        (["verified", "verified"], "succeeded", False, "succeeded"),
        (["verified", "verified"], "failed", False, "partly_succeeded"),
        (["verified", "failed"], None, False, "partly_succeeded"),
        (["verified", "refused"], None, False, "partly_succeeded"),
        (["failed", "refused"], None, False, "failed"),
        (["verified", "cancelled"], None, True, "cancelled"),
    ],
)
def test_the_final_state(
    states: list[str], benchmark: str | None, cancelled: bool, final: str
) -> None:
    variants = [_variant(f"v{n}.onnx", state=state) for n, state in enumerate(states)]
    benchmarks = [_measured("v0.onnx", 1, state=benchmark)] if benchmark else []
    state, error = final_state(variants, benchmarks, cancelled=cancelled)
    assert state == final
    assert (error is not None) is (final == "failed")


def test_why_none_was_made_counts_in_words() -> None:
    for count, words in ((1, "The one variant could not be made."), (2, "None of 2 variants")):
        variants = [_variant(f"v{n}.onnx", state="failed") for n in range(count)]
        _, error = final_state(variants, [], cancelled=False)
        assert error is not None
        assert words in error.message
        assert ("of each" in error.fix) is (count > 1)
