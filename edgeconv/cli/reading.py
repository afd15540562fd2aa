"""From the wire's messages to what `--json` prints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

from google.protobuf.message import Message
from google.rpc import status_pb2

from edgeconv.cli.documents import (
    BenchmarkDocument,
    DatasetDocument,
    DeviceDocument,
    JobLine,
    ModelVersionDocument,
    UploadState,
)
from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.signature import DeclaredTensor, DType, SizeRange
from edgeconv.results.job import Failure, FileResult, JobState
from edgeconv.results.status import to_failure
from edgeconv.results.wire import benchmark_result, enum_word
from edgeconv.v1 import (
    benchmarks_pb2,
    conversions_pb2,
    datasets_pb2,
    devices_pb2,
    files_pb2,
    models_pb2,
)

_INTEGER = re.compile(r"-?[0-9]{1,18}")
"""An axis may have any name, "²" too, which Python takes for a digit."""


def model_version_document(version: models_pb2.ModelVersion) -> ModelVersionDocument:
    """A model version."""
    return ModelVersionDocument(
        name=version.name,
        state=cast(UploadState, enum_word(version, "state")),
        digest=version.digest,
        files=_files(version.files),
        inspection=_inspection(version.inspection) if version.HasField("inspection") else None,
        error=_failure(version, version.error),
        created_ns=version.create_time.ToNanoseconds(),
    )


def dataset_document(dataset: datasets_pb2.Dataset) -> DatasetDocument:
    """A dataset."""
    return DatasetDocument(
        name=dataset.name,
        state=cast(UploadState, enum_word(dataset, "state")),
        digest=dataset.digest,
        files=_files(dataset.files),
        model_version=dataset.model_version,
        arrays=tuple(
            DeclaredTensor(name=each.name, dtype=DType(each.dtype), shape=tuple(each.shape))
            for each in dataset.arrays
        ),
        samples=dataset.samples,
        notes=tuple(dataset.notes),
        error=_failure(dataset, dataset.error),
        created_ns=dataset.create_time.ToNanoseconds(),
    )


def job_line(conversion: conversions_pb2.Conversion) -> JobLine:
    """A conversion without its variants."""
    return JobLine(
        name=conversion.name,
        model_version=conversion.model_version,
        state=cast(JobState, enum_word(conversion, "state")),
        error=_failure(conversion, conversion.error),
        created_ns=conversion.create_time.ToNanoseconds(),
        ended_ns=conversion.end_time.ToNanoseconds(),
    )


def benchmark_document(benchmark: benchmarks_pb2.Benchmark) -> BenchmarkDocument:
    """A benchmark."""
    return BenchmarkDocument(
        **dict(benchmark_result(benchmark)),
        variant=benchmark.variant,
        waiting_reason=benchmark.waiting_reason,
        created_ns=benchmark.create_time.ToNanoseconds(),
        ended_ns=benchmark.end_time.ToNanoseconds(),
    )


def device_document(device: devices_pb2.Device) -> DeviceDocument:
    """A device."""
    capabilities = device.capabilities
    return DeviceDocument(
        name=device.name,
        state=enum_word(device, "state"),
        reason=device.reason,
        since_ns=device.since.ToNanoseconds(),
        last_seen_ns=device.last_seen_time.ToNanoseconds(),
        benchmark=device.benchmark,
        labels=dict(device.labels),
        runtimes=dict(capabilities.runtimes),
        architecture=capabilities.architecture,
        userland_32_bit=capabilities.userland_32_bit,
        cpu=capabilities.cpu,
        cores=capabilities.cores,
        memory_bytes=capabilities.memory_bytes,
        os=capabilities.os,
        kind=capabilities.kind,
    )


def _inspection(inspection: models_pb2.Inspection) -> Inspection:
    return Inspection(
        format=inspection.format,
        inputs=tuple(_declared(each) for each in inspection.inputs),
        outputs=tuple(_declared(each) for each in inspection.outputs),
        parameters=inspection.parameters,
        weights_bytes=inspection.weights_bytes,
        operators=dict(inspection.operators),
        opset=inspection.opset,
        ranges={
            axis: SizeRange(least=each.least, most=each.most or None)
            for axis, each in inspection.ranges.items()
        },
        notes=tuple(inspection.notes),
    )


def _declared(tensor: models_pb2.DeclaredTensor) -> DeclaredTensor:
    shape = tuple(int(size) if _INTEGER.fullmatch(size) else size for size in tensor.shape)
    return DeclaredTensor(name=tensor.name, dtype=DType(tensor.dtype), shape=shape)


def _files(files: Iterable[files_pb2.File]) -> tuple[FileResult, ...]:
    return tuple(
        FileResult(name=each.name, digest=each.digest, size_bytes=each.size_bytes) for each in files
    )


def _failure(holder: Message, error: status_pb2.Status) -> Failure | None:
    return to_failure(error) if holder.HasField("error") else None
