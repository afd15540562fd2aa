"""What `--json` prints for resources: the published form, apart from the wire's messages."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, RootModel

from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.schema import Recipe
from edgeconv.recipe.signature import DeclaredTensor
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.results.job import BenchmarkResult, Failure, FileResult, JobResult, JobState

UploadState = Literal["inspecting", "ready", "rejected"]


class Document(BaseModel):
    """Base of all documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorBody(Document):
    """What went wrong; `reason` is one of the published catalogue."""

    reason: str
    message: str
    fix: str
    violations: tuple[tuple[str, str], ...]
    metadata: dict[str, str]


class ErrorDocument(Document):
    """What every command prints instead of its result when it fails."""

    error: ErrorBody


class ModelVersionDocument(Document):
    """A version of a model."""

    name: str
    state: UploadState
    digest: str
    files: tuple[FileResult, ...]
    inspection: Inspection | None
    error: Failure | None
    created_ns: int


class ModelVersionsDocument(Document):
    """Versions, newest first."""

    model_versions: tuple[ModelVersionDocument, ...]


class DatasetDocument(Document):
    """A dataset."""

    name: str
    state: UploadState
    digest: str
    files: tuple[FileResult, ...]
    model_version: str
    arrays: tuple[DeclaredTensor, ...]
    samples: int
    notes: tuple[str, ...]
    error: Failure | None
    created_ns: int


class DatasetsDocument(Document):
    """Datasets, newest first."""

    datasets: tuple[DatasetDocument, ...]


class JobLine(Document):
    """A conversion without its variants."""

    name: str
    model_version: str
    state: JobState
    error: Failure | None
    created_ns: int
    ended_ns: int


class JobsDocument(Document):
    """Conversions, newest first."""

    jobs: tuple[JobLine, ...]


class BenchmarkDocument(BenchmarkResult):
    """A benchmark with the variant it measures."""

    variant: str
    waiting_reason: str
    created_ns: int
    ended_ns: int


class BenchmarksDocument(Document):
    """Benchmarks, newest first."""

    benchmarks: tuple[BenchmarkDocument, ...]


class DeviceDocument(Document):
    """A device and where it stands."""

    name: str
    state: str
    reason: str
    since_ns: int
    last_seen_ns: int
    benchmark: str
    labels: dict[str, str]
    runtimes: dict[str, str]
    architecture: str
    userland_32_bit: bool
    cpu: str
    cores: int
    memory_bytes: int
    os: str
    kind: str


class DevicesDocument(Document):
    """Devices by name."""

    devices: tuple[DeviceDocument, ...]


class DoneDocument(Document):
    """Something was done to a resource; nothing else is to be told."""

    name: str
    done: str


class FilesDocument(Document):
    """Files that were written."""

    paths: tuple[str, ...]


class InspectionDocument(Document):
    """What reading a file told."""

    path: str
    inspection: Inspection


class BenchDocument(Document):
    """A measurement here and now: its summary, and the raw record it was computed from."""

    path: str
    summary: BenchmarkSummary
    record: dict[str, object]


class ReadyDocument(Document):
    """The one line that `up`, `serve` and `agent` print when they are ready."""

    ready: Literal[True] = True
    address: str
    state: str
    pid: int
    device: str = ""


class RemovedLine(Document):
    """What went of a kind for one reason; `size_bytes` is what that freed."""

    kind: str
    reason: str
    count: int
    size_bytes: int


class GcDocument(Document):
    """What retention removed, or would with `dry_run`, and what stays for whose sake."""

    dry_run: bool
    removed: tuple[RemovedLine, ...]
    freed_bytes: int
    kept_bytes: int
    waiting_bytes: int
    held_bytes: dict[str, int]
    over_cap_bytes: int
    leftovers: int
    free_bytes: int


class DamagedBlobLine(Document):
    """A blob that can't be used, and what refers to it."""

    digest: str
    problem: str
    holders: tuple[str, ...]


class BlobCheckDocument(Document):
    """What reading every blob told."""

    blobs: int
    size_bytes: int
    damaged: tuple[DamagedBlobLine, ...]


class GcAnswer(RootModel[GcDocument | BlobCheckDocument]):
    """What `gc` prints: the second form with --check."""


class CheckDocument(Document):
    """One thing that `doctor` looked at."""

    name: str
    state: Literal["ok", "warn", "fail"]
    message: str
    fix: str = ""


class DoctorDocument(Document):
    """Everything that `doctor` looked at."""

    healthy: bool
    checks: tuple[CheckDocument, ...]


DOCUMENTS: dict[str, type[BaseModel]] = {
    "error": ErrorDocument,
    "convert": JobResult,
    "inspect": InspectionDocument,
    "bench": BenchDocument,
    "up": ReadyDocument,
    "serve": ReadyDocument,
    "agent": ReadyDocument,
    "models list": ModelVersionsDocument,
    "models get": ModelVersionDocument,
    "models upload": ModelVersionDocument,
    "models download": FilesDocument,
    "models delete": DoneDocument,
    "datasets list": DatasetsDocument,
    "datasets get": DatasetDocument,
    "datasets upload": DatasetDocument,
    "datasets download": FilesDocument,
    "datasets delete": DoneDocument,
    "jobs list": JobsDocument,
    "jobs get": JobResult,
    "jobs watch": JobResult,
    "jobs cancel": JobResult,
    "jobs download": JobResult,
    "benchmarks list": BenchmarksDocument,
    "benchmarks get": BenchmarkDocument,
    "benchmarks cancel": BenchmarkDocument,
    "devices list": DevicesDocument,
    "devices get": DeviceDocument,
    "devices drain": DeviceDocument,
    "devices resume": DeviceDocument,
    "devices delete": DoneDocument,
    "gc": GcAnswer,
    "recipes check": Recipe,
    "doctor": DoctorDocument,
}
"""Command → what it prints with `--json`."""
