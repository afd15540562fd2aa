"""Benchmark records made by hand, for tests of what is computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeconv.bench import record
from edgeconv.bench.device_state import DeviceState, Machine, ProcessorTime
from edgeconv.bench.record import Block, PhaseRecord, Record

MIB = 1024 * 1024
MS = 1_000_000
S = 1_000_000_000


def make_state(
    at_ns: int,
    *,
    busy_ns: int = 0,
    own_ns: int = 0,
    stolen_ns: int = 0,
    processors: int = 2,
    mhz: int | None = None,
    throttle_bits: int | None = None,
) -> DeviceState:
    """A machine at a moment; `busy_ns` and `stolen_ns` are sums since its start."""
    return DeviceState(
        at_ns=at_ns,
        own_cpu_ns=own_ns,
        processor_time=ProcessorTime(
            busy_ns=busy_ns, stolen_ns=stolen_ns, total_ns=processors * at_ns
        ),
        frequencies_khz=None if mhz is None else [mhz * 1000, 600_000],
        temperatures_mc={},
        throttle_bits=throttle_bits,
        pressure_us={},
        load=None,
    )


def make_phase(
    name: str,
    wall_ns: Sequence[int],
    *,
    peak_bytes: int = 60 * MIB,
    began_ns: int = 1 * S,
    ended_ns: int = 2 * S,
    switches: int = 0,
) -> PhaseRecord:
    """A phase whose processor time is twice its wall time, with 20 MiB of mapped files."""
    return PhaseRecord(
        phase=name,
        began_ns=began_ns,
        ended_ns=ended_ns,
        wall_ns=list(wall_ns),
        cpu_ns=[2 * sample for sample in wall_ns],
        involuntary_switches=switches,
        peak_bytes=peak_bytes,
        anonymous_bytes=peak_bytes - 20 * MIB,
        file_bytes=20 * MIB,
    )


def make_block(
    steady_ns: Sequence[int] = (MS,) * 200,
    *,
    states: Sequence[DeviceState] = (),
    cold_ns: int = 10 * MS,
    first_ns: int = 3 * MS,
    peaks: dict[str, int] | None = None,
    **changed: Any,
) -> Block:
    """A process with all phases: 50 MiB before the model, 1 MiB of inputs.

    Args:
        peaks: High-water marks by phase; 60 MiB where it is not named.
        changed: Other fields of the block.
    """
    walls: dict[str, Sequence[int]] = {
        record.IMPORT: [300 * MS],
        record.COLD_LOAD: [cold_ns],
        record.FIRST_INFERENCE: [first_ns],
        record.WARM_LOAD: [5 * MS, 5 * MS],
        record.WARM_UP: [2 * MS] * 10,
        record.STEADY: steady_ns,
        record.POST_IDLE: [2 * MS],
    }
    block = Block(
        process=1,
        waited_ns=0,
        baseline_bytes=50 * MIB,
        inputs_bytes=1 * MIB,
        peaks_reset=True,
        evicted=True,
        runtime="Runtime 1.0",
        delegate_parts=None,
        threads=2,
        inputs_origin="synthetic",
        phases=[
            make_phase(name, wall, peak_bytes=(peaks or {}).get(name, 60 * MIB), switches=2)
            for name, wall in walls.items()
        ],
        states=list(states),
        machine=Machine(
            processor="test",
            architecture="test",
            kernel="6",
            usable_processors=[0, 1],
            physical_cores=2,
            governor=None,
            memory_bytes=None,
        ),
        notes=[],
    )
    return {**block, **changed}  # type: ignore[typeddict-item]


def make_record(*blocks: Block) -> Record:
    """A record of those processes."""
    return Record(
        schema=record.SCHEMA,
        kind=record.KIND,
        began_at_ns=0,
        request={},
        file="model.onnx",
        files=[],
        blocks=list(blocks),
        output_samples=0,
        notes=[],
    )
