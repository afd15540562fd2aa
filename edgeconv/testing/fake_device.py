"""A device that does what a test tells it, behind the agent's Driver Protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgeconv.agent.drivers.driver import Job, Report
from edgeconv.agent.work import ResultFiles
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.catalog.capabilities import Capabilities
from edgeconv.runtimes.catalogue import runtime_by_format

FAKE_CAPABILITIES = Capabilities(
    runtimes={"onnxruntime": "1.31.1", "litert": "2.3.0"},
    architecture="aarch64",
    cpu="Fake Board Rev 1.0",
    cores=4,
    memory_bytes=1 << 30,
    os="Fake OS 1",
    kind="generic-aarch64",
)

_TURNS_TO_END = 50


@dataclass(frozen=True)
class Script:
    """What the device does with one job.

    Attributes:
        record: The raw record that it hands over, as JSON data.
        outputs: Bytes of the outputs file, which is there when the job has samples.
        error: Raised instead of a result.
        hangs: Measures until it is cancelled.
        reports: What it reports first.
    """

    record: object = field(default_factory=lambda: {"schema": 1, "kind": "edgeconv.benchmark"})
    outputs: bytes = b"outputs"
    error: EdgeconvError | None = None
    hangs: bool = False
    reports: Sequence[tuple[float, str]] = ((0.5, "steady (1 of 1)"),)


class FakeDevice:
    """Satisfies `Driver`.

    Args:
        name: "devices/{device}".
        scripts: One a job, in order; the last one goes on for all that follow.

    Attributes:
        running: Jobs that are measured now; a cancelled one takes a few turns of the loop
            to end, as a real device's does.
        most_at_once: The largest `running` so far; a driver is promised 1.
        prepared: Folders of the jobs that are prepared and not released.
        measured: Jobs whose measurement was begun.
        began: Set at the beginning of each measurement.
        ended: Set at the end of each measurement, however it ends.
    """

    def __init__(
        self,
        name: str = "devices/fake",
        scripts: Sequence[Script] = (Script(),),
        *,
        capabilities: Capabilities = FAKE_CAPABILITIES,
    ) -> None:
        self._name = name
        self._scripts = list(scripts)
        self._capabilities = capabilities
        self.running = 0
        self.most_at_once = 0
        self.prepared: set[str] = set()
        self.measured: list[Job] = []
        self.began = asyncio.Event()
        self.ended = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name

    async def describe(self) -> Capabilities:
        return self._capabilities

    async def prepare(self, job: Job) -> None:
        runtime = runtime_by_format(job.format).name
        if runtime not in self._capabilities.runtimes:
            raise EdgeconvError(
                Reason.EXTRA_MISSING,
                f"{self._name} has no runtime for .{job.format} files.",
                device=self._name,
            )
        self.prepared.add(str(job.folder))

    async def measure(self, job: Job, report: Report) -> ResultFiles:
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        file = job.folder / job.file
        if not file.is_file() or not file.stat().st_size:
            raise EdgeconvError(
                Reason.MODEL_UNREADABLE, f"{job.file!r} is absent or empty.", file=job.file
            )
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        self.measured.append(job)
        self.began.set()
        try:
            for fraction, words in script.reports:
                report(fraction, words)
            if script.hangs:
                await asyncio.Event().wait()
            if script.error is not None:
                raise script.error
            return _write(job, script)
        except asyncio.CancelledError:
            for _ in range(_TURNS_TO_END):
                await asyncio.sleep(0)
            raise
        finally:
            self.running -= 1
            self.ended.set()

    async def release(self, job: Job) -> None:
        self.prepared.discard(str(job.folder))


def _write(job: Job, script: Script) -> ResultFiles:
    record = job.scratch / "record.json"
    record.write_text(json.dumps(script.record))
    if job.samples is None:
        return ResultFiles(record, None)
    outputs = job.scratch / "outputs.npz"
    outputs.write_bytes(script.outputs)
    return ResultFiles(record, outputs)
