"""Measures one block in a fresh process.

Entry point for `edgeconv.sandbox`: `edgeconv.bench.child:main`. Messages, all JSON
objects; one block is the whole life of the process:

    parent → child   {"request", "folder", "file", "samples": path or null,
                      "lock_folder": path or null, "result": path,
                      "outputs": path or null}
    child → parent   {"phase", "fraction", "message"}   any number of times
                     {"done": {"output_samples"}}       the block stands in `result`
                     {"failed": EdgeconvError as JSON}

Nothing heavy is imported before the phase that times the import.
"""

from __future__ import annotations

import gc
import os
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench import record
from edgeconv.bench.device_state import read_machine
from edgeconv.bench.eviction import evict
from edgeconv.bench.lock import exclusive_lock, shared_lock
from edgeconv.bench.memory import read_peak
from edgeconv.bench.phases import Meter
from edgeconv.bench.processors import physical_cores
from edgeconv.bench.record import Block
from edgeconv.bench.request import MeasureRequest
from edgeconv.runtimes.catalogue import loader, runtime_by_name
from edgeconv.sandbox.channel import Channel

if TYPE_CHECKING:
    from edgeconv.bench.inputs import Feeds
    from edgeconv.runtimes.session import Load, Session

WAITING_PHASE = "waiting"
OUTPUTS_PHASE = "outputs"


def main(channel: Channel) -> None:
    """Measures the block that the parent asks for."""
    message = channel.receive()
    if message is None:
        return
    try:
        channel.send({"done": _Task(message, channel).do()})
    except EdgeconvError as error:
        channel.send({"failed": error.to_json()})
    except MemoryError:
        refusal = EdgeconvError(Reason.LIMIT_EXCEEDED, "The model needs more memory than allowed.")
        channel.send({"failed": refusal.to_json()})
    except Exception as fault:
        # A fault of ours: the trace goes to the log, never on the wire.
        traceback.print_exc()
        words = f"Measuring failed: {type(fault).__name__}: {fault}".splitlines()[0][:300]
        channel.send({"failed": EdgeconvError(Reason.INTERNAL, words).to_json()})


class _Task:
    def __init__(self, message: Mapping[str, Any], channel: Channel) -> None:
        self._channel = channel
        self._request = MeasureRequest.from_json(message["request"])
        self._file = Path(message["folder"]) / message["file"]
        self._samples = _path(message["samples"])
        self._lock_folder = _path(message["lock_folder"])
        self._result = Path(message["result"])
        self._outputs = _path(message["outputs"])
        self._threads = self._request.threads_on(physical_cores())

    def do(self) -> dict[str, Any]:
        began_ns = time.monotonic_ns()
        with exclusive_lock(self._say_waiting, self._lock_folder):
            block, session = self._measure(time.monotonic_ns() - began_ns)
        self._result.write_bytes(record.encode_block(block))
        if self._outputs is None or self._samples is None:
            return {"output_samples": 0}
        with shared_lock(self._say_waiting, self._lock_folder):
            return {"output_samples": self._run_samples(session, self._samples, self._outputs)}

    def _measure(self, waited_ns: int) -> tuple[Block, Session]:
        # A collection in the middle of a sample would be timed with it.
        gc.disable()
        meter = Meter(self._request.plan, self._announce)
        load = self._import(meter)
        baseline = read_peak()
        evicted = evict(sorted(path for path in self._file.parent.iterdir() if path.is_file()))
        with meter.phase(record.COLD_LOAD) as series:
            session = series.time(self._load, load)
        samples = self._timed_samples(session)
        with meter.phase(record.FIRST_INFERENCE) as series:
            series.time(session.run, samples[0])
        session = self._load_warm(meter, load, session)
        meter.infer(session.run, samples)
        return self._block(meter, session, samples, waited_ns, evicted, baseline), session

    def _import(self, meter: Meter) -> Load:
        spec = runtime_by_name(self._request.runtime)
        spec.require()
        with meter.phase(record.IMPORT) as series:
            load: Load = series.time(loader, spec)
        # Of ours, and after the phase: it needs numpy, which the runtime has loaded.
        import edgeconv.bench.inputs  # noqa: F401

        return load

    def _load(self, load: Load) -> Session:
        return load(self._file, threads=self._threads, spinning=self._request.spinning)

    def _load_warm(self, meter: Meter, load: Load, session: Session) -> Session:
        with meter.phase(record.WARM_LOAD) as series:
            for _ in range(self._request.plan.warm_loads):
                session.close()
                session = series.time(self._load, load)
        return session

    def _timed_samples(self, session: Session) -> list[Feeds]:
        from edgeconv.bench.inputs import SampleFile, synthesize

        if self._samples is not None:
            return SampleFile(self._samples, session.inputs).first()
        return synthesize(session.inputs, self._request.shapes)

    def _block(
        self,
        meter: Meter,
        session: Session,
        samples: list[Feeds],
        waited_ns: int,
        evicted: bool | None,
        baseline: Any,
    ) -> Block:
        from edgeconv.bench.inputs import held_bytes

        return Block(
            process=os.getpid(),
            waited_ns=waited_ns,
            baseline_bytes=baseline.anonymous_bytes + baseline.file_bytes,
            inputs_bytes=held_bytes(samples),
            peaks_reset=meter.peaks_reset,
            evicted=evicted,
            runtime=session.describe(),
            delegate_parts=session.delegate_parts,
            threads=self._threads,
            inputs_origin="synthetic" if self._samples is None else "dataset",
            phases=meter.phases,
            states=meter.states,
            machine=read_machine(),
            notes=[*meter.notes, *_notes(meter.peaks_reset, evicted)],
        )

    def _run_samples(self, session: Session, samples: Path, outputs: Path) -> int:
        from edgeconv.bench.inputs import SampleFile
        from edgeconv.bench.outputs import write_outputs

        self._announce(OUTPUTS_PHASE, -1.0)
        given = SampleFile(samples, session.inputs)

        def tell(place: int) -> None:
            self._announce(OUTPUTS_PHASE, place / len(given))

        return write_outputs(session, given, outputs, tell)

    def _say_waiting(self, fraction: float, words: str) -> None:
        self._channel.send({"phase": WAITING_PHASE, "fraction": fraction, "message": words})

    def _announce(self, phase: str, fraction: float) -> None:
        words = f"measuring: {phase.replace('_', ' ')}"
        self._channel.send({"phase": phase, "fraction": fraction, "message": words})


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


def _notes(peaks_reset: bool, evicted: bool | None) -> list[str]:
    notes = []
    if not peaks_reset:
        notes.append("High-water marks can't be set back here: a phase's includes earlier ones.")
    if evicted is False:
        notes.append("The file stayed in memory: the cold load was a warm one.")
    if evicted is None:
        notes.append("The kernel does not tell whether the file had left memory.")
    return notes
