"""Measures an ONNX file on a device of the server: a conversion that changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.connect import connected
from edgeconv.cli.conversion_run import Measuring, run_conversion
from edgeconv.cli.convert_request import ConvertRequest, recipe_yaml
from edgeconv.cli.documents import BenchDocument
from edgeconv.recipe.named import recipe_from_flags
from edgeconv.results.job import BenchmarkResult, JobResult

if TYPE_CHECKING:
    from edgeconv.cli.terminal import Terminal


@dataclass(frozen=True)
class DeviceBench:
    """What is to be measured, where and how.

    Attributes:
        files: The ONNX file first.
        selector: Which devices may measure it.
        shapes: Input name → "1,3,224,224".
    """

    files: Sequence[Path]
    selector: str
    effort: str
    threads: int
    shapes: Mapping[str, str]


def bench_on_device(
    asked: DeviceBench, server: str | None, state: Path, terminal: Terminal
) -> BenchDocument:
    """Measures the user's own graph, taken as it is, on one device.

    Raises:
        EdgeconvError: NOT_APPLICABLE for a file that is no ONNX; why it was not measured.
    """
    file = asked.files[0]
    if file.suffix != ".onnx":
        raise EdgeconvError(
            Reason.NOT_APPLICABLE,
            f"{file.name!r} is no ONNX file; a device measures ONNX files and what"
            " conversions made.",
            fix="Convert its source with `edgeconv convert --device`, or measure it here.",
            path=file,
        )
    recipe = recipe_from_flags(targets=("onnx",), precisions=("fp32",))
    with connected(server, state) as client:
        result = run_conversion(
            client,
            ConvertRequest(recipe_yaml(recipe), {}, {}),
            asked.files,
            shapes=asked.shapes,
            measuring=Measuring(asked.selector, asked.effort, asked.threads),
            terminal=terminal,
        )
        benchmark = _measured(result)
        record = json.loads(client.get_benchmark_record(benchmark.name))
    assert benchmark.summary is not None
    return BenchDocument(path=str(file), summary=benchmark.summary, record=record)


def _measured(result: JobResult) -> BenchmarkResult:
    """The benchmark that has a summary; else the error that stands in its way."""
    found = [each for variant in result.variants for each in variant.benchmarks]
    for benchmark in found:
        if benchmark.summary is not None:
            return benchmark
    failures = [each.error for each in found if each.error]
    failures += [each.error for each in result.variants if each.error]
    failures += [result.error] if result.error else []
    if not failures:
        raise EdgeconvError(
            Reason.NO_DEVICE, f"{result.name} ended {result.state} without a measurement."
        )
    first = failures[0]
    reason = Reason[first.reason] if first.reason in Reason.__members__ else Reason.INTERNAL
    raise EdgeconvError(reason, first.message, fix=first.fix)
