"""What the server keeps, as data. Times are nanoseconds since the Unix epoch.

Errors stand as `EdgeconvError.to_json()`; states are those of `results.job`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from edgeconv.base.digests import digest_bundle
from edgeconv.recipe.inspection import DatasetInspection, Inspection
from edgeconv.recipe.plan import PlannedVariant
from edgeconv.results.agreement import Agreement
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.results.effect import Effect, Note
from edgeconv.results.job import BenchmarkState, JobState, VariantState

InspectionState = Literal["inspecting", "ready", "rejected"]
FailureOwner = Literal["", "model", "device", "infrastructure"]
DeviceState = Literal["offline", "idle", "preparing", "busy", "cooling", "draining", "quarantined"]
TERMINAL_JOB_STATES = frozenset({"succeeded", "partly_succeeded", "failed", "cancelled"})
TERMINAL_BENCHMARK_STATES = frozenset({"succeeded", "failed", "cancelled"})


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PartRecord(Record):
    """A blob that is a piece of a file."""

    digest: str
    size_bytes: int


class FileRecord(Record):
    """A file of a bundle; its parts in order are its bytes."""

    name: str
    digest: str
    size_bytes: int
    parts: tuple[PartRecord, ...]


Files = tuple[FileRecord, ...]


def files_digest(files: Files) -> str:
    """Digest over names and digests, as `base.bundle.Bundle.digest`."""
    return digest_bundle({file.name: file.digest for file in files})


class ModelVersionRecord(Record):
    """A version of a model. `seq` grows with each version of any model."""

    seq: int
    model: str
    version: int
    state: InspectionState
    files: Files
    digest: str
    inspection: Inspection | None = None
    error: dict[str, Any] | None = None
    create_ns: int

    @property
    def name(self) -> str:
        """The resource name."""
        return f"models/{self.model}/versions/{self.version}"


class DatasetRecord(Record):
    """A dataset; `model_version` is a resource name, or empty."""

    seq: int
    dataset: str
    state: InspectionState
    files: Files
    digest: str
    model_version: str = ""
    inspection: DatasetInspection | None = None
    error: dict[str, Any] | None = None
    create_ns: int

    @property
    def name(self) -> str:
        """The resource name."""
        return f"datasets/{self.dataset}"


class StepOutput(Record):
    """What a step made: its files, and what its child said of them."""

    files: Files = ()
    facts: dict[str, Any] = {}
    effect: Effect | None = None
    agreement: Agreement | None = None
    wall_ns: int = 0
    peak_memory_bytes: int = 0


class BundleInput(Record):
    """A bundle that a conversion begins with: the model's or a dataset's files."""

    files: Files
    digest: str
    facts: dict[str, Any] = {}


class StepReportRecord(Record):
    """What a step took in one conversion."""

    id: str
    key: str
    wall_ns: int
    peak_memory_bytes: int
    reused: bool


class VariantRecord(Record):
    """A variant of a conversion. `plan` is None for a refused one."""

    name: str
    recipe_variant: str
    target: str
    precision: str
    plan: PlannedVariant | None = None
    state: VariantState
    error: dict[str, Any] | None = None
    files: Files = ()
    digest: str = ""
    effects: tuple[Effect, ...] = ()
    agreement: Agreement | None = None
    notes: tuple[Note, ...] = ()
    on_pareto_front: bool = False


class ConversionRecord(Record):
    """A conversion without its variants. `inputs` is keyed as a plan names bundles.

    Attributes:
        executor: Who runs the attempt; "" when none does, or it ended in order.
        lost_attempts: How many in a row were lost with their executor, and brought no step on.
        used_ns: When a file of it was downloaded last; 0 for never.
        collected_ns: When its files were removed by retention; 0 while they are kept.
    """

    seq: int
    id: str
    model_version: str
    recipe: str
    plan: dict[str, Any]
    inputs: dict[str, BundleInput]
    device_selector: str
    benchmark: dict[str, Any]
    state: JobState
    attempt: int
    error: dict[str, Any] | None = None
    notes: tuple[Note, ...] = ()
    toolchain: dict[str, str] = {}
    sequence: int = 0
    create_ns: int
    end_ns: int = 0
    executor: str = ""
    lost_attempts: int = 0
    used_ns: int = 0
    collected_ns: int = 0

    @property
    def name(self) -> str:
        """The resource name."""
        return f"conversions/{self.id}"


class EventRecord(Record):
    """A durable event. `kind` is a field of the wire's oneof, `body` that message's JSON."""

    sequence: int
    time_ns: int
    kind: Literal["state_changed", "step_changed", "variant_changed", "benchmark_changed"]
    body: dict[str, Any]


class BenchmarkRecord(Record):
    """A benchmark. `failed_on` names devices that failed at it."""

    seq: int
    id: str
    conversion: str
    variant: str
    title: str
    format: str
    files: Files
    samples: FileRecord | None = None
    outputs: FileRecord | None = None
    device_selector: str
    request: dict[str, Any]
    priority: int
    state: BenchmarkState
    device: str = ""
    agent: str = ""
    token: int = 0
    expires_ns: int = 0
    attempts: int = 0
    failed_on: tuple[str, ...] = ()
    error: dict[str, Any] | None = None
    failure_owner: FailureOwner = ""
    summary: BenchmarkSummary | None = None
    record_digest: str = ""
    outputs_digest: str = ""
    waiting_reason: str = ""
    create_ns: int
    end_ns: int = 0

    @property
    def name(self) -> str:
        """The resource name."""
        return f"benchmarks/{self.id}"


class DeviceRecord(Record):
    """A device as it is now.

    Attributes:
        benchmark: Id of the one it holds, or empty.
        held: "draining" or "quarantined" while it takes no work, with the reason beside
            it; kept while the device is offline.
    """

    device: str
    agent: str
    capabilities: dict[str, Any]
    labels: dict[str, str]
    state: DeviceState
    reason: str
    since_ns: int
    benchmark: str = ""
    last_seen_ns: int
    failures_in_row: int = 0
    held: Literal["", "draining", "quarantined"] = ""
    held_reason: str = ""

    @property
    def name(self) -> str:
        """The resource name."""
        return f"devices/{self.device}"
