"""Records as messages of the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from pydantic import BaseModel

from edgeconv.base.errors import EdgeconvError
from edgeconv.recipe.plan import SOURCE
from edgeconv.results.status import to_status
from edgeconv.server.progress import ProgressNow
from edgeconv.server.records import (
    BenchmarkRecord,
    ConversionRecord,
    DatasetRecord,
    DeviceRecord,
    EventRecord,
    FileRecord,
    ModelVersionRecord,
    VariantRecord,
)
from edgeconv.server.store.conversions import ConversionView
from edgeconv.v1 import (
    benchmarks_pb2,
    conversions_pb2,
    datasets_pb2,
    devices_pb2,
    files_pb2,
    models_pb2,
)

M = TypeVar("M", bound=Message)


def timestamp(time_ns: int) -> Timestamp | None:
    """A time; None for 0, which stands for none."""
    if not time_ns:
        return None
    made = Timestamp()
    made.FromNanoseconds(time_ns)
    return made


def duration(time_ns: int) -> Duration:
    """A duration."""
    made = Duration()
    made.FromNanoseconds(time_ns)
    return made


def status(error: dict[str, Any] | None) -> status_pb2.Status | None:
    """An error as it is kept."""
    return None if error is None else to_status(EdgeconvError.from_json(error))


def parsed(model: BaseModel, message: M) -> M:
    """A model whose fields are those of the message."""
    return json_format.ParseDict(model.model_dump(mode="json", exclude_none=True), message)


def file_messages(files: Iterable[FileRecord]) -> list[files_pb2.File]:
    """Files with their parts."""
    return [
        files_pb2.File(
            name=file.name,
            digest=file.digest,
            size_bytes=file.size_bytes,
            parts=[
                files_pb2.Part(digest=part.digest, size_bytes=part.size_bytes)
                for part in file.parts
            ],
        )
        for file in files
    ]


def model_version(record: ModelVersionRecord) -> models_pb2.ModelVersion:
    """A model version."""
    inspection = None
    if record.inspection is not None:
        data = record.inspection.model_dump(mode="json")
        for tensor in (*data["inputs"], *data["outputs"]):
            tensor["shape"] = [str(size) for size in tensor["shape"]]
        inspection = json_format.ParseDict(data, models_pb2.Inspection())
    state = models_pb2.InspectionState.Value(f"INSPECTION_STATE_{record.state.upper()}")
    return models_pb2.ModelVersion(
        name=record.name,
        state=state,
        files=file_messages(record.files),
        inspection=inspection,
        error=status(record.error),
        create_time=timestamp(record.create_ns),
        digest=record.digest,
    )


def dataset(record: DatasetRecord) -> datasets_pb2.Dataset:
    """A dataset."""
    found = record.inspection
    state = models_pb2.InspectionState.Value(f"INSPECTION_STATE_{record.state.upper()}")
    return datasets_pb2.Dataset(
        name=record.name,
        state=state,
        files=file_messages(record.files),
        model_version=record.model_version,
        arrays=[
            datasets_pb2.DatasetArray(
                name=array.name, dtype=array.dtype, shape=[int(size) for size in array.shape]
            )
            for array in (found.arrays if found else ())
        ],
        samples=found.samples if found else 0,
        error=status(record.error),
        create_time=timestamp(record.create_ns),
        digest=record.digest,
        notes=found.notes if found else (),
    )


def variant(
    record: VariantRecord, benchmarks: Iterable[BenchmarkRecord]
) -> conversions_pb2.Variant:
    """A variant with its benchmarks."""
    state = conversions_pb2.VariantState.Value(f"VARIANT_STATE_{record.state.upper()}")
    agreement = record.agreement
    return conversions_pb2.Variant(
        name=record.name,
        recipe_variant=record.recipe_variant,
        target=record.target,
        precision=record.precision,
        state=state,
        error=status(record.error),
        files=file_messages(record.files),
        digest=record.digest,
        size_bytes=sum(file.size_bytes for file in record.files),
        road=record.plan.road if record.plan else "",
        effects=[parsed(effect, conversions_pb2.Effect()) for effect in record.effects],
        agreement=parsed(agreement, conversions_pb2.Agreement()) if agreement else None,
        parent=record.plan.parent if record.plan else "",
        benchmarks=[benchmark(each) for each in benchmarks],
        notes=[parsed(note, conversions_pb2.Note()) for note in record.notes],
        on_pareto_front=record.on_pareto_front,
    )


def conversion_head(record: ConversionRecord) -> conversions_pb2.Conversion:
    """A conversion without its variants and steps."""
    state = conversions_pb2.ConversionState.Value(f"CONVERSION_STATE_{record.state.upper()}")
    return conversions_pb2.Conversion(
        name=record.name,
        model_version=record.model_version,
        state=state,
        error=status(record.error),
        recipe=record.recipe,
        create_time=timestamp(record.create_ns),
        end_time=timestamp(record.end_ns),
        collected_time=timestamp(record.collected_ns),
        toolchain=record.toolchain,
        sequence=record.sequence,
        notes=[parsed(note, conversions_pb2.Note()) for note in record.notes],
        shapes=_shapes(record.plan),
        data_digests={
            key.removeprefix("data:"): each.digest
            for key, each in record.inputs.items()
            if key != SOURCE
        },
    )


def _shapes(plan: dict[str, Any]) -> dict[str, str]:
    """The inputs' shapes, as the step has them that runs the source."""
    for step in plan.get("steps", ()):
        if step["id"] == plan.get("reference"):
            shapes = step["options"].get("shapes", {})
            return {name: ",".join(map(str, shape)) for name, shape in shapes.items()}
    return {}


def conversion(view: ConversionView) -> conversions_pb2.Conversion:
    """A conversion with all that belongs to it."""
    message = conversion_head(view.conversion)
    for each in view.variants:
        mine = [record for record in view.benchmarks if record.variant == each.name]
        message.variants.append(variant(each, mine))
    for step in view.steps:
        message.steps.add(
            id=step.id,
            key=step.key,
            wall_time=duration(step.wall_ns),
            peak_memory_bytes=step.peak_memory_bytes,
            reused=step.reused,
        )
    return message


def event(record: EventRecord) -> conversions_pb2.ConversionEvent:
    """A durable event."""
    message = conversions_pb2.ConversionEvent(
        sequence=record.sequence, time=timestamp(record.time_ns)
    )
    body = record.body
    if record.kind == "state_changed":
        message.state_changed.state = conversions_pb2.ConversionState.Value(
            f"CONVERSION_STATE_{body['state'].upper()}"
        )
    elif record.kind == "step_changed":
        took = body["wall_ns"]
        message.step_changed.CopyFrom(
            conversions_pb2.StepChanged(
                step=body["step"],
                change=body["change"],
                message=body["message"],
                wall_time=duration(took) if took else None,
            )
        )
    elif record.kind == "variant_changed":
        message.variant_changed.CopyFrom(
            conversions_pb2.VariantChanged(
                variant=body["variant"],
                state=conversions_pb2.VariantState.Value(f"VARIANT_STATE_{body['state'].upper()}"),
                message=body["message"],
            )
        )
    else:
        message.benchmark_changed.CopyFrom(
            conversions_pb2.BenchmarkChanged(
                benchmark=body["benchmark"],
                variant=body["variant"],
                state=_benchmark_state(body["state"]),
                message=body["message"],
            )
        )
    return message


def progress(now: ProgressNow, time_ns: int) -> conversions_pb2.ConversionEvent:
    """Progress, which is not kept."""
    return conversions_pb2.ConversionEvent(
        time=timestamp(time_ns),
        progress=conversions_pb2.Progress(
            subject=now.subject, fraction=now.fraction, message=now.message
        ),
    )


def benchmark_request(request: dict[str, Any]) -> benchmarks_pb2.BenchmarkRequest:
    """How something is measured, as it is kept."""
    return json_format.ParseDict(request, benchmarks_pb2.BenchmarkRequest())


def benchmark(record: BenchmarkRecord) -> benchmarks_pb2.Benchmark:
    """A benchmark."""
    summary = None
    if record.summary is not None:
        summary = parsed(record.summary, benchmarks_pb2.BenchmarkSummary())
    owner = f"FAILURE_OWNER_{record.failure_owner.upper() or 'UNSPECIFIED'}"
    return benchmarks_pb2.Benchmark(
        name=record.name,
        variant=f"conversions/{record.conversion}/variants/{record.variant}",
        device_selector=record.device_selector,
        device=record.device,
        request=benchmark_request(record.request),
        state=_benchmark_state(record.state),
        error=status(record.error),
        failure_owner=benchmarks_pb2.FailureOwner.Value(owner),
        attempts=record.attempts,
        summary=summary,
        create_time=timestamp(record.create_ns),
        end_time=timestamp(record.end_ns),
        waiting_reason=record.waiting_reason,
    )


def device(record: DeviceRecord) -> devices_pb2.Device:
    """A device."""
    return devices_pb2.Device(
        name=record.name,
        capabilities=json_format.ParseDict(
            record.capabilities, devices_pb2.DeviceCapabilities(), ignore_unknown_fields=True
        ),
        state=devices_pb2.DeviceState.Value(f"DEVICE_STATE_{record.state.upper()}"),
        reason=record.reason,
        since=timestamp(record.since_ns),
        benchmark=f"benchmarks/{record.benchmark}" if record.benchmark else "",
        last_seen_time=timestamp(record.last_seen_ns),
        labels=record.labels,
    )


def _benchmark_state(state: str) -> benchmarks_pb2.BenchmarkState.ValueType:
    return benchmarks_pb2.BenchmarkState.Value(f"BENCHMARK_STATE_{state.upper()}")
