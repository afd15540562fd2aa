"""Remarks, text, Markdown and JUnit."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from edgeconv.report.highlights import highlights
from edgeconv.report.html import render_html
from edgeconv.report.junit import render_junit
from edgeconv.report.markdown import escape, render_markdown
from edgeconv.report.remarks import remarks
from edgeconv.report.rows import rows
from edgeconv.report.table import print_table, render_text
from edgeconv.results.agreement import Agreement
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.results.effect import Note
from edgeconv.results.job import BenchmarkResult, Failure, JobResult, VariantResult

_GOLDEN = Path(__file__).parents[2] / "golden" / "job_result.json"


@pytest.fixture(scope="module")
def result() -> JobResult:
    return JobResult.model_validate_json(_GOLDEN.read_text())


def _job(*variants: VariantResult) -> JobResult:
    return JobResult(name="conversions/c", model_version="models/m/versions/1",
                     state="partly_succeeded", variants=variants)  # fmt: skip


def _variant(**fields: object) -> VariantResult:
    given = {"name": "a|b.onnx", "recipe_variant": "[red]a|b", "target": "onnx",
             "precision": "fp32", "state": "verified", **fields}  # fmt: skip
    return VariantResult.model_validate(given)


def test_remarks_name_all_variants_they_hold_for(result: JobResult) -> None:
    found = {remark.message: remark for remark in remarks(result)}
    removed = found["MACs −32 %, 112 of 560 channels removed"]
    assert len(removed.subjects) == 5
    failed = next(remark for remark in remarks(result) if remark.message.startswith("failed: "))
    assert failed.tone == "bad"
    assert failed.message.endswith("Prune less, or raise `max_drop`.")


def test_an_instability_is_said_once() -> None:
    summary = BenchmarkSummary(verdict="unstable", reasons=("Hot.",))
    benchmark = BenchmarkResult(name="b", device="devices/a", state="succeeded", summary=summary)
    bare = _variant(benchmarks=(benchmark,))
    noted = _variant(
        benchmarks=(benchmark,), notes=(Note(kind="unstable", subject="x", message="Hot."),)
    )
    assert [remark.message for remark in remarks(_job(bare))] == ["unstable: Hot."]
    assert [remark.message for remark in remarks(_job(noted))] == ["unstable: x: Hot."]


def test_a_failed_measurement_is_said() -> None:
    failure = Failure(reason="DEVICE_FAILED", message="It went away.")
    benchmark = BenchmarkResult(name="b", state="failed", error=failure, failure_owner="device")
    assert remarks(_job(_variant(benchmarks=(benchmark,))))[0].message == (
        "not measured: It went away."
    )


def test_markup_in_names_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    job = _job(_variant())
    assert "[red]a|b" in render_text(job)
    console = Console(width=40)
    print_table(job, console)
    assert "[red]a|b" in capsys.readouterr().out
    assert console.width == 40


def test_no_column_is_cut_on_a_narrow_terminal(
    result: JobResult, capsys: pytest.CaptureFixture[str]
) -> None:
    print_table(result, Console(width=50))
    printed = capsys.readouterr().out
    assert "prune20-int8   tflite   verified             95.7 % (−2.7 pt)" in printed
    assert "…" not in printed


def test_a_second_device_adds_a_column() -> None:
    two = tuple(
        BenchmarkResult(name="b", device=f"devices/{name}", state="succeeded") for name in "ab"
    )
    text = render_text(_job(_variant(benchmarks=two)))
    assert "device" in text.splitlines()[2]
    assert "devices/b" in text


def test_markdown_reads_no_name_as_markup(result: JobResult) -> None:
    text = render_markdown(result)
    assert "<script>" not in text
    assert r"\<script\>" in text
    rows_of_table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in rows_of_table}) == 1
    assert len(rows_of_table) == 2 + 14
    assert escape("a|b*_`<&") == r"a\|b\*\_\`\<\&"


def test_junit_has_a_case_for_each_variant_and_benchmark(result: JobResult) -> None:
    suite = ElementTree.fromstring(render_junit(result))[0]
    assert suite.attrib == {
        "name": "models/text-direction/versions/3", "failures": "1", "errors": "0",
        "skipped": "1", "tests": "26", "time": "102.000",
    }  # fmt: skip
    failure = suite.find("testcase[@name='prune90.onnx']/failure")
    assert failure is not None
    assert failure.get("type") == "AGREEMENT_LOST"


def test_a_failed_benchmark_is_an_error_unless_it_is_the_models_fault() -> None:
    def outcome(owner: str) -> str:
        failure = Failure(reason="X", message="\x00bad")
        benchmark = BenchmarkResult(name="b", state="failed", error=failure, failure_owner=owner)
        suite = ElementTree.fromstring(render_junit(_job(_variant(benchmarks=(benchmark,)))))[0]
        return f"{suite.get('failures')} {suite.get('errors')}"

    assert outcome("model") == "1 0"
    assert outcome("device") == "0 1"


def test_highlights_are_the_best_of_the_verified(result: JobResult) -> None:
    found = {item.title: item for item in highlights(rows(result))}
    assert (found["Best accuracy"].value, found["Best accuracy"].variant) == ("98.4 %", "fp32.onnx")
    assert (found["Fastest"].value, found["Fastest"].variant) == ("1.44 ms", "prune20-int8.tflite")
    assert found["Smallest"].remark == "0.24× the size of fp32"
    assert highlights([]) == []


def _agreement(**fields: object) -> Agreement:
    return Agreement.model_validate({"samples": 16, "samples_origin": "synthetic", **fields})


def test_a_flagged_variant_is_nowhere_verified_alone() -> None:
    flag = Note(kind="flagged", message="13.0 dB against the source, below 20 dB.")
    job = _job(
        _variant(name="a.onnx", agreement=_agreement(notes=(flag,)), size_bytes=9),
        _variant(name="b.onnx", agreement=_agreement(), size_bytes=10),
    )
    [smallest] = highlights(rows(job))
    assert smallest.variant == "a.onnx"
    assert smallest.remark.startswith("flagged")
    for text in (render_text(job), render_markdown(job)):
        assert "2 of 2 variants verified, 1 of them flagged" in text
        assert text.count("verified, flagged") == 1
    assert render_html(job).count(">verified, flagged<") == 2


def test_what_the_figures_were_told_on_stands_under_the_table() -> None:
    made_up = "the figures come from 16 synthetic samples; give --data."
    labelled = {"samples": 1000, "samples_origin": "dataset", "metric": "accuracy"}
    with_labels = _agreement(**labelled, metric_value=0.5, metric_reference=0.5)
    for render in (render_text, render_markdown, render_html):
        assert made_up in render(_job(_variant(agreement=_agreement())))
        text = render(_job(_variant(agreement=with_labels)))
        assert made_up not in text
        assert "accuracy: on 1,000 samples with labels." in text
        assert "percentage points" in text
