"""What an agent is given and what it gives back, as data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeconv.base.errors import EdgeconvError
from edgeconv.bench.failure import FailureOwner


@dataclass(frozen=True, order=True)
class Lease:
    """A claim on a benchmark; a later claim of the same one has a higher token."""

    benchmark: str
    token: int


@dataclass(frozen=True)
class AssignedFile:
    """A file that an assignment needs; `role` is "artifact" or "samples"."""

    role: str
    name: str
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class Assignment:
    """A benchmark to run.

    Attributes:
        lease_ns: How long the lease lives without a heartbeat.
        device: "devices/{device}".
        format: "onnx" or "tflite".
        effort, threads, spinning: As in `bench.request.MeasureRequest`.
        title: For logs.
    """

    lease: Lease
    lease_ns: int
    device: str
    format: str
    files: tuple[AssignedFile, ...]
    effort: str = "quick"
    threads: int = 0
    spinning: bool = False
    title: str = ""


@dataclass(frozen=True)
class ResultFiles:
    """What a measurement left on this machine.

    Attributes:
        record: The raw record, JSON.
        outputs: npz of the device's own outputs; None when there are none.
    """

    record: Path
    outputs: Path | None


@dataclass(frozen=True)
class Failure:
    """Why a benchmark ended without a result, and whose fault it is."""

    error: EdgeconvError
    owner: FailureOwner


@dataclass(frozen=True)
class Result:
    """What is reported until the server acknowledges it: digests, or a failure."""

    record_digest: str = ""
    outputs_digest: str = ""
    failure: Failure | None = None
