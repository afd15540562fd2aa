"""Prints one resource: as its document, or as words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgeconv.base.quantities import format_bytes
from edgeconv.base.sentences import clauses, sentences
from edgeconv.cli.documents import (
    BenchmarkDocument,
    DatasetDocument,
    DeviceDocument,
    DoneDocument,
    ModelVersionDocument,
)
from edgeconv.recipe.signature import shape_to_give
from edgeconv.report import cells

if TYPE_CHECKING:
    from edgeconv.cli.terminal import Terminal
    from edgeconv.recipe.inspection import Inspection
    from edgeconv.recipe.signature import DeclaredTensor
    from edgeconv.results.benchmark import BenchmarkSummary
    from edgeconv.results.job import Failure, FileResult

_STATE_STYLES = {"ready": "green", "rejected": "red", "failed": "red", "succeeded": "green"}


def describe_model_version(version: ModelVersionDocument, terminal: Terminal) -> None:
    """A model version: state, files, inputs, outputs, operators."""
    if terminal.json:
        terminal.print_document(version)
        return
    _heading(version.name, version.state, version.error, terminal)
    _print_files(version.files, terminal)
    if version.inspection:
        print_inspection(version.inspection, terminal)


def describe_dataset(dataset: DatasetDocument, terminal: Terminal) -> None:
    """A dataset: state, file, arrays."""
    if terminal.json:
        terminal.print_document(dataset)
        return
    _heading(dataset.name, dataset.state, dataset.error, terminal)
    _print_files(dataset.files, terminal)
    terminal.print(f"{dataset.samples} samples")
    terminal.print_rows(("array", "dtype", "shape"), [_tensor(each) for each in dataset.arrays])
    for note in dataset.notes:
        terminal.print(note)


def describe_device(device: DeviceDocument, terminal: Terminal) -> None:
    """A device: where it stands, since when, what it is and can do."""
    if terminal.json:
        terminal.print_document(device)
        return
    since = f"since {cells.time_text(device.since_ns)}" if device.since_ns else ""
    words = "  ".join(part for part in (device.state, device.reason, since) if part)
    terminal.print(f"{device.name}  {words}")
    facts = [
        ("processor", f"{device.cpu}, {device.cores} cores, {device.architecture}"),
        ("userland", "32 bit" if device.userland_32_bit else "64 bit"),
        ("memory", format_bytes(device.memory_bytes)),
        ("system", device.os),
        ("runtimes", ", ".join(f"{name} {v}" for name, v in sorted(device.runtimes.items()))),
        ("kind", device.kind),
        ("labels", ", ".join(f"{key}={v}" for key, v in sorted(device.labels.items()))),
        ("measures", device.benchmark),
        ("last heard", cells.time_text(device.last_seen_ns)),
    ]
    for name, value in facts:
        if value:
            terminal.print(f"  {name:<11}{value}")


def describe_benchmark(benchmark: BenchmarkDocument, terminal: Terminal) -> None:
    """A benchmark: state, device, percentiles, phases."""
    if terminal.json:
        terminal.print_document(benchmark)
        return
    _heading(benchmark.name, benchmark.state, benchmark.error, terminal)
    where = benchmark.device or benchmark.device_selector
    terminal.print(f"{benchmark.variant} on {where}, effort {benchmark.effort or 'quick'}")
    if benchmark.failure_owner:
        terminal.print(f"The fault is with the {benchmark.failure_owner}.")
    if benchmark.waiting_reason:
        terminal.print(f"Waits: {benchmark.waiting_reason}")
    if benchmark.summary:
        print_summary(benchmark.summary, terminal)


def print_inspection(inspection: Inspection, terminal: Terminal) -> None:
    """Inputs, outputs, operators, weights and notes."""
    opset = f", opset {inspection.opset}" if inspection.opset else ""
    terminal.print(
        f"{inspection.format}{opset}, {inspection.parameters:,} parameters,"
        f" {format_bytes(inspection.weights_bytes)} of weights"
    )
    rows = [("input", *_tensor(each)) for each in inspection.inputs]
    rows += [("output", *_tensor(each)) for each in inspection.outputs]
    terminal.print_rows(("", "name", "dtype", "shape"), rows)
    for words in _open_axes(inspection.inputs):
        terminal.print(words)
    counts = sorted(inspection.operators.items(), key=lambda item: (-item[1], item[0]))
    terminal.print("Operators: " + ", ".join(f"{name} {count}" for name, count in counts))
    for note in inspection.notes:
        terminal.print(note)


def _open_axes(inputs: Sequence[DeclaredTensor]) -> Iterator[str]:
    """What is to be passed to --shape, for each input that has open axes."""
    for tensor in inputs:
        opened = [axis for axis, size in enumerate(tensor.shape) if isinstance(size, str)]
        if opened == [0]:
            yield f"Input {tensor.name!r} is taken one at a time, unless --shape says another."
        elif opened:
            yield f"Input {tensor.name!r} needs its whole shape: --shape {shape_to_give(tensor)}"


def print_summary(summary: BenchmarkSummary, terminal: Terminal) -> None:
    """Percentiles with n and interval, phases, memory, verdict."""
    terminal.print(summary.runtime)
    terminal.print_rows(
        ("latency", "", "interval across processes", "n"), cells.summary_rows(summary)
    )
    phases = [
        (
            phase.phase.replace("_", " "),
            str(phase.samples),
            cells.duration(phase.median_ns),
            cells.duration(phase.median_cpu_ns),
            format_bytes(phase.peak_memory_bytes) if phase.peak_memory_bytes else cells.ABSENT,
        )
        for phase in summary.phases
        if phase.samples
    ]
    terminal.print_rows(("phase", "n", "median", "CPU time", "peak memory"), phases)
    terminal.print(
        f"Cold load and first inference {cells.duration(summary.user_visible_ns)},"
        f" peak memory above the imports {format_bytes(summary.peak_memory_bytes)}"
    )
    if summary.delegate_parts is not None:
        terminal.print(f"Delegate parts: {summary.delegate_parts}")
    style = "green" if summary.verdict == "stable" else "yellow"
    reasons = f": {clauses(summary.reasons)}." if summary.reasons else ""
    terminal.print(f"{summary.verdict}{reasons}", style=style)


def say_done(name: str, done: str, terminal: Terminal) -> None:
    """That something was done to a resource."""
    if terminal.json:
        terminal.print_document(DoneDocument(name=name, done=done))
    else:
        terminal.print(f"{name} {done}.")


def _heading(name: str, state: str, error: Failure | None, terminal: Terminal) -> None:
    terminal.print(f"{name}  {state}", style=_STATE_STYLES.get(state, ""))
    if error:
        terminal.print(sentences(error.message, error.fix))


def _print_files(files: Sequence[FileResult], terminal: Terminal) -> None:
    for file in files:
        terminal.print(f"  {file.name}  {format_bytes(file.size_bytes)}  {file.digest}")


def _tensor(tensor: DeclaredTensor) -> tuple[str, str, str]:
    return tensor.name, tensor.dtype, "×".join(str(size) for size in tensor.shape) or "scalar"
