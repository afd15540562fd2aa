"""What an event of a conversion is worth saying."""

from __future__ import annotations

from edgeconv.cli.job_progress import Line, Waits, line_of, running_of
from edgeconv.v1 import benchmarks_pb2, conversions_pb2
from edgeconv.v1.conversions_pb2 import (
    BenchmarkChanged,
    ConversionEvent,
    Progress,
    StateChanged,
    StepChanged,
    VariantChanged,
)


def _step(change: str, message: str = "", seconds: float = 0) -> ConversionEvent:
    event = ConversionEvent(step_changed=StepChanged(step="a/b", change=change, message=message))
    event.step_changed.wall_time.FromNanoseconds(int(seconds * 1e9))
    return event


def test_steps() -> None:
    assert line_of(_step("started")) is None
    assert running_of(_step("started")) == ("a/b", None)
    assert line_of(_step("done", "removed 8", 1.5)) == Line(
        "✓", "a/b", "removed 8  1.50 s", "green"
    )
    failed = line_of(_step("failed", "no data"))
    assert failed is not None
    assert (failed.mark, failed.message, failed.style) == ("✗", "no data", "red")
    reused = line_of(_step("reused"))
    assert reused is not None
    assert reused.message == "remembered from an earlier job"


def test_variants() -> None:
    def line(state: conversions_pb2.VariantState) -> Line | None:
        return line_of(
            ConversionEvent(variant_changed=VariantChanged(variant="v", state=state, message="m"))
        )

    assert line(conversions_pb2.VARIANT_STATE_PENDING) is None
    assert line(conversions_pb2.VARIANT_STATE_VERIFIED) == Line("✓", "v", "verified: m", "green")
    assert line(conversions_pb2.VARIANT_STATE_REFUSED) == Line("✗", "v", "refused: m", "yellow")


def test_benchmarks() -> None:
    def event(state: benchmarks_pb2.BenchmarkState, message: str = "") -> ConversionEvent:
        changed = BenchmarkChanged(benchmark="b", variant="v", state=state, message=message)
        return ConversionEvent(benchmark_changed=changed)

    assert line_of(event(benchmarks_pb2.BENCHMARK_STATE_QUEUED)) is None
    leased = event(benchmarks_pb2.BENCHMARK_STATE_LEASED)
    assert line_of(leased) is None
    assert running_of(leased) == ("measuring v", None)
    failed = line_of(event(benchmarks_pb2.BENCHMARK_STATE_FAILED, "gone"))
    assert failed == Line("✗", "v", "measurement failed: gone", "red")


def test_states_and_progress() -> None:
    state = conversions_pb2.CONVERSION_STATE_BENCHMARKING
    assert line_of(ConversionEvent(state_changed=StateChanged(state=state))) == Line(
        "", "Measuring", "", "bold"
    )
    ended = conversions_pb2.CONVERSION_STATE_SUCCEEDED
    assert line_of(ConversionEvent(state_changed=StateChanged(state=ended))) is None
    half = ConversionEvent(progress=Progress(subject="s", fraction=0.5, message="m"))
    assert line_of(half) is None
    assert running_of(half) == ("s: m", 0.5)
    unknown = ConversionEvent(progress=Progress(subject="s", fraction=-1))
    assert running_of(unknown) == ("s", None)
    assert (line_of(ConversionEvent()), running_of(ConversionEvent())) == (None, None)


def _queued(benchmark: str, variant: str, message: str) -> ConversionEvent:
    state = benchmarks_pb2.BENCHMARK_STATE_QUEUED
    changed = BenchmarkChanged(benchmark=benchmark, variant=variant, state=state, message=message)
    return ConversionEvent(benchmark_changed=changed)


def test_why_benchmarks_wait_is_said_once_a_reason_and_again_when_it_comes_back() -> None:
    waits = Waits()
    off, busy = "offline: devices/pi", "waits for devices/pi"
    assert waits.take(_queued("b/1", "a.onnx", "")) is None
    assert waits.take(_queued("b/1", "a.onnx", off)) == Line("…", "a.onnx", off, "yellow")
    assert waits.take(_queued("b/2", "b.onnx", off)) is None
    assert running_of(_queued("b/2", "b.onnx", off)) == (f"b.onnx: {off}", None)
    assert waits.take(_queued("b/1", "a.onnx", busy)) == Line("…", "a.onnx", busy, "yellow")
    assert waits.take(_queued("b/2", "b.onnx", busy)) is None
    assert waits.take(_queued("b/2", "b.onnx", off)) == Line("…", "b.onnx", off, "yellow")


def test_a_wait_for_the_machine_is_said_and_ends() -> None:
    def progress(subject: str, fraction: float, message: str) -> ConversionEvent:
        return ConversionEvent(
            progress=Progress(subject=subject, fraction=fraction, message=message)
        )

    waits, words = Waits(), "waiting for a measurement on this machine to end"
    assert waits.take(progress("a/b", -1, words)) == Line("…", "a/b", words, "yellow")
    assert waits.take(progress("a/b", -1, words)) is None
    assert waits.take(progress("a/b", -1, "")) is None
    assert waits.take(progress("a/b", -1, words)) is not None
    # The progress of a benchmark bears its resource name; people know its variant.
    assert waits.take(_queued("benchmarks/1", "a.onnx", "")) is None
    other = "preparing: waiting for conversions or another measurement to end"
    said = waits.take(progress("benchmarks/1", -1, other))
    assert said == Line("…", "a.onnx", other, "yellow")
