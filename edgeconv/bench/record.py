"""The raw record of a measurement: everything else is computed from it, later, by anyone.

One JSON object; `schema` is its version. Durations are nanoseconds of the monotonic
clock, sizes are bytes. Nothing is trimmed or averaged.
"""

from __future__ import annotations

import json
from typing import Any, TypedDict

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.device_state import DeviceState, Machine

SCHEMA = 1
KIND = "edgeconv.benchmark"

IMPORT = "import"
COLD_LOAD = "cold_load"
FIRST_INFERENCE = "first_inference"
WARM_LOAD = "warm_load"
WARM_UP = "warm_up"
STEADY = "steady"
POST_IDLE = "post_idle"

PHASES = (IMPORT, COLD_LOAD, FIRST_INFERENCE, WARM_LOAD, WARM_UP, STEADY, POST_IDLE)
"""In the order they happen in a process.

import: loading the runtime's library. cold_load: loading the file from the disk.
first_inference: the one after the cold load. warm_load: loading the file from memory.
warm_up: inferences until they are steady or 0.3 s are over. steady: inferences one right
after another. post_idle: an inference after an idle time.
"""


class PhaseRecord(TypedDict):
    """One phase of one process.

    Attributes:
        wall_ns: One duration a sample.
        cpu_ns: Processor time of each sample, all threads of the process.
        involuntary_switches: During the phase, all threads.
        peak_bytes: High-water mark of resident memory, set back before the phase.
        anonymous_bytes: At the end of the phase, see `bench.memory.Peak`.
        file_bytes: Likewise, mapped files (libraries and mapped weights).
    """

    phase: str
    began_ns: int
    ended_ns: int
    wall_ns: list[int]
    cpu_ns: list[int]
    involuntary_switches: int
    peak_bytes: int
    anonymous_bytes: int
    file_bytes: int


class Block(TypedDict):
    """What one fresh process measured.

    Attributes:
        waited_ns: How long it waited for the machine's lock.
        baseline_bytes: Resident memory once everything is imported, before the model.
        inputs_bytes: The input arrays it holds while it runs the model.
        peaks_reset: Whether high-water marks could be set back before each phase.
        evicted: Whether the file was out of memory before the cold load; None where the
            kernel can't tell.
        states: The machine before, each second during, and after.
        notes: What a reader must know, sentences.
    """

    process: int
    waited_ns: int
    baseline_bytes: int
    inputs_bytes: int
    peaks_reset: bool
    evicted: bool | None
    runtime: str
    delegate_parts: int | None
    threads: int
    inputs_origin: str
    phases: list[PhaseRecord]
    states: list[DeviceState]
    machine: Machine
    notes: list[str]


class FileRecord(TypedDict):
    """A file of the artifact."""

    name: str
    digest: str
    size_bytes: int


class Record(TypedDict):
    """A measurement.

    Attributes:
        began_at_ns: Wall-clock time since the Unix epoch.
        file: The one that the runtime was given.
        files: That one and those it may refer to.
        output_samples: Samples whose outputs were returned; 0 for none.
    """

    schema: int
    kind: str
    began_at_ns: int
    request: dict[str, Any]
    file: str
    files: list[FileRecord]
    blocks: list[Block]
    output_samples: int
    notes: list[str]


def phase_of(block: Block, name: str) -> PhaseRecord | None:
    """A phase of a block, or None when it has none of that name."""
    return next((phase for phase in block["phases"] if phase["phase"] == name), None)


def encode(record: Record) -> bytes:
    """As it is stored and sent."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode()


def encode_block(block: Block) -> bytes:
    """As a child hands it over."""
    return json.dumps(block, separators=(",", ":"), allow_nan=False).encode()


def decode_block(data: bytes) -> Block:
    """The inverse of `encode_block`."""
    block: Block = json.loads(data)
    return block


def decode(data: bytes) -> Record:
    """The inverse of `encode`.

    Raises:
        EdgeconvError: FIELD_INVALID for what is no record, or one of another schema.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise _refusal(f"it is no JSON: {error}") from error
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise _refusal(f"its kind is not {KIND!r}")
    if value.get("schema") != SCHEMA:
        raise _refusal(f"its schema is {value.get('schema')!r}; this version reads {SCHEMA}")
    record: Record = value  # type: ignore[assignment]
    return record


def _refusal(message: str) -> EdgeconvError:
    return EdgeconvError(Reason.FIELD_INVALID, f"The benchmark record can't be read: {message}.")
