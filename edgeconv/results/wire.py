"""A conversion as it comes over the wire, as the result model that is printed and reported.

The fields of notes, effects, agreements and summaries carry the same names on both sides;
states lose their prefix ("VARIANT_STATE_VERIFIED" is "verified"), durations and timestamps
become nanoseconds, and a `google.rpc.Status` becomes a `Failure`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc import status_pb2

from edgeconv.results.agreement import Agreement
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.results.effect import Effect, Note
from edgeconv.results.job import (
    BenchmarkResult,
    BenchmarkState,
    Failure,
    FileResult,
    JobResult,
    JobState,
    StepResult,
    VariantResult,
    VariantState,
)
from edgeconv.results.status import to_failure
from edgeconv.v1 import benchmarks_pb2, conversions_pb2


def job_result(conversion: conversions_pb2.Conversion) -> JobResult:
    """The result of a conversion, or where it stands while it runs.

    Raises:
        pydantic.ValidationError: a state is not set, or an effect changed nothing.
    """
    return JobResult(
        name=conversion.name,
        model_version=conversion.model_version,
        state=cast(JobState, enum_word(conversion, "state")),
        error=_failure(conversion, conversion.error),
        recipe=conversion.recipe,
        variants=tuple(variant_result(each) for each in conversion.variants),
        steps=tuple(_step(each) for each in conversion.steps),
        created_ns=conversion.create_time.ToNanoseconds(),
        ended_ns=conversion.end_time.ToNanoseconds(),
        toolchain=dict(conversion.toolchain),
        notes=(*_notes(conversion.notes), *_collected(conversion)),
        shapes=dict(conversion.shapes),
        data_digests=dict(conversion.data_digests),
    )


def _collected(conversion: conversions_pb2.Conversion) -> Iterator[Note]:
    if conversion.HasField("collected_time"):
        day = conversion.collected_time.ToDatetime().date().isoformat()
        message = f"Retention removed the files on {day}; converting again makes them again."
        yield Note(kind="dropped", subject="files", message=message)


def variant_result(variant: conversions_pb2.Variant) -> VariantResult:
    """The result of one variant."""
    return VariantResult(
        name=variant.name,
        recipe_variant=variant.recipe_variant,
        target=variant.target,
        precision=variant.precision,
        state=cast(VariantState, enum_word(variant, "state")),
        error=_failure(variant, variant.error),
        files=tuple(
            FileResult(name=each.name, digest=each.digest, size_bytes=each.size_bytes)
            for each in variant.files
        ),
        digest=variant.digest,
        size_bytes=variant.size_bytes,
        road=variant.road,
        effects=tuple(Effect.model_validate(_plain(each)) for each in variant.effects),
        agreement=Agreement.model_validate(_plain(variant.agreement))
        if variant.HasField("agreement")
        else None,
        parent=variant.parent,
        benchmarks=tuple(benchmark_result(each) for each in variant.benchmarks),
        notes=_notes(variant.notes),
        on_pareto_front=variant.on_pareto_front,
    )


def benchmark_result(benchmark: benchmarks_pb2.Benchmark) -> BenchmarkResult:
    """The result of one benchmark."""
    return BenchmarkResult(
        name=benchmark.name,
        device=benchmark.device,
        device_selector=benchmark.device_selector,
        effort=benchmark.request.effort,
        state=cast(BenchmarkState, enum_word(benchmark, "state")),
        error=_failure(benchmark, benchmark.error),
        failure_owner=enum_word(benchmark, "failure_owner"),
        attempts=benchmark.attempts,
        summary=BenchmarkSummary.model_validate(_plain(benchmark.summary))
        if benchmark.HasField("summary")
        else None,
    )


def enum_word(message: Message, field: str) -> str:
    """An enum field without its prefix, in lower case; "" when it is not set.

    A value that this version does not know is its number: a newer server may send one.
    """
    number: int = getattr(message, field)
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    if number == 0 or enum is None:
        return ""
    if number not in enum.values_by_number:
        return str(number)
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return enum.values_by_number[number].name.removeprefix(prefix).lower()


def _step(step: conversions_pb2.StepReport) -> StepResult:
    return StepResult(
        id=step.id,
        key=step.key,
        wall_ns=step.wall_time.ToNanoseconds(),
        peak_memory_bytes=step.peak_memory_bytes,
        reused=step.reused,
    )


def _failure(holder: Message, error: status_pb2.Status) -> Failure | None:
    return to_failure(error) if holder.HasField("error") else None


def _notes(notes: Iterable[conversions_pb2.Note]) -> tuple[Note, ...]:
    return tuple(Note.model_validate(_plain(note)) for note in notes)


def _plain(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True)
