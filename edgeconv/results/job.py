"""The result of a conversion: what `edgeconv convert --json` prints and reports show.

Its JSON schema is published in the reference pages. `schema_version` grows when a field
changes its meaning or goes away.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from edgeconv.results.agreement import Agreement
from edgeconv.results.benchmark import BenchmarkSummary
from edgeconv.results.effect import Effect, Note

SCHEMA_VERSION = 1

VariantState = Literal["pending", "verified", "failed", "refused", "cancelled"]
JobState = Literal[
    "queued", "converting", "benchmarking", "succeeded", "partly_succeeded", "failed", "cancelled"
]
BenchmarkState = Literal["queued", "leased", "succeeded", "failed", "cancelled"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(_Model):
    """Why something failed: a reason of the catalogue, a sentence, and what to do."""

    reason: str
    message: str
    fix: str = ""


class FileResult(_Model):
    """A file of an artifact; `path` is where the command wrote it, empty if it did not."""

    name: str
    digest: str
    size_bytes: int
    path: str = ""


class BenchmarkResult(_Model):
    """A benchmark of a variant on a device."""

    name: str
    device: str = ""
    device_selector: str = ""
    effort: str = ""
    state: BenchmarkState
    error: Failure | None = None
    failure_owner: str = ""
    attempts: int = 0
    summary: BenchmarkSummary | None = None


class VariantResult(_Model):
    """A variant: how it was made, how far it agrees, how it runs."""

    name: str
    recipe_variant: str
    target: str
    precision: str
    state: VariantState
    error: Failure | None = None
    files: tuple[FileResult, ...] = ()
    path: str = ""
    digest: str = ""
    size_bytes: int = 0
    road: str = ""
    effects: tuple[Effect, ...] = ()
    agreement: Agreement | None = None
    parent: str = ""
    benchmarks: tuple[BenchmarkResult, ...] = ()
    notes: tuple[Note, ...] = ()
    on_pareto_front: bool = False


class StepResult(_Model):
    """What a step of the job took."""

    id: str
    key: str = ""
    wall_ns: int = 0
    peak_memory_bytes: int = 0
    reused: bool = False


class JobResult(_Model):
    """A conversion and all its variants.

    `source` is the file that was converted, as a path from the folder of this result; empty
    in a result that was not written by `convert`. `shapes` has the whole shape of every input
    as it was converted, "1,3,224,224"; `data_digests` the digest of each dataset by what it
    was used for.
    """

    schema_version: Literal[1] = 1
    name: str
    model_version: str
    source: str = ""
    state: JobState
    error: Failure | None = None
    recipe: str = ""
    variants: tuple[VariantResult, ...] = ()
    steps: tuple[StepResult, ...] = ()
    created_ns: int = 0
    ended_ns: int = 0
    toolchain: dict[str, str] = {}
    notes: tuple[Note, ...] = ()
    shapes: dict[str, str] = {}
    data_digests: dict[str, str] = {}
