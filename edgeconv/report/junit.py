"""The result as JUnit XML, so that a CI shows each variant as a test."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from edgeconv.report import cells
from edgeconv.report.printable import printable
from edgeconv.report.rows import variant_notes
from edgeconv.results.job import BenchmarkResult, Failure, JobResult, VariantResult


def render_junit(result: JobResult) -> str:
    """A suite with a test for each variant and each benchmark.

    A failed variant is a failure, a refused or cancelled one is skipped, a benchmark that
    failed for a reason other than the model is an error.
    """
    root = Element("testsuites")
    suite = SubElement(root, "testsuite", name=printable(result.model_version))
    seconds = max(result.ended_ns - result.created_ns, 0) / 1e9
    for variant in result.variants:
        _add_variant(suite, variant)
        for benchmark in variant.benchmarks:
            _add_benchmark(suite, variant, benchmark)
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    suite.set("time", f"{seconds:.3f}")
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_variant(suite: Element, variant: VariantResult) -> None:
    case = SubElement(suite, "testcase", classname="edgeconv.variant", name=printable(variant.name))
    if variant.state == "failed":
        _fail(case, "failure", variant.error, "It failed.")
    elif variant.state != "verified":
        _fail(case, "skipped", variant.error, f"It is {variant.state}.")
    words = [
        f"{note.kind}: {printable(note.subject)} {printable(note.message)}"
        for note in variant_notes(variant)
    ]
    if words:
        SubElement(case, "system-out").text = "\n".join(words)


def _add_benchmark(suite: Element, variant: VariantResult, benchmark: BenchmarkResult) -> None:
    place = printable(benchmark.device or benchmark.device_selector)
    case = SubElement(
        suite,
        "testcase",
        classname="edgeconv.benchmark",
        name=f"{printable(variant.name)} on {place}",
    )
    if benchmark.state == "failed":
        tag = "failure" if benchmark.failure_owner == "model" else "error"
        _fail(case, tag, benchmark.error, "It was not measured.")
    elif benchmark.state != "succeeded":
        _fail(case, "skipped", benchmark.error, f"It is {benchmark.state}.")
    median = benchmark.summary.percentile(50) if benchmark.summary else None
    if median and median.value_ns:
        interval = cells.between(median)
        figure = f"p50 {cells.duration(median.value_ns)} ({interval}), n={median.samples}"
        SubElement(case, "system-out").text = figure


def _fail(case: Element, tag: str, error: Failure | None, otherwise: str) -> None:
    if error is None:
        SubElement(case, tag, message=otherwise)
        return
    element = SubElement(case, tag, type=printable(error.reason), message=printable(error.message))
    element.text = printable(error.fix)
