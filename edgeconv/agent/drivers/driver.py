"""A device as the agent uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeconv.agent.work import ResultFiles
from edgeconv.catalog.capabilities import Capabilities

Report = Callable[[float, str], None]
"""Told (fraction from 0 to 1 or negative, words)."""


@dataclass(frozen=True)
class Job:
    """A measurement to do.

    Attributes:
        folder: On this machine; holds the artifact's files and nothing else.
        file: Name of the one that the runtime is given.
        format: "onnx" or "tflite".
        samples: npz of inputs, or None for synthetic ones.
        scratch: An empty folder on this machine that belongs to the job; results stay
            in it until the agent removes it.
        effort, threads, spinning: As in `bench.request.MeasureRequest`.
    """

    folder: Path
    file: str
    format: str
    samples: Path | None
    scratch: Path
    effort: str = "quick"
    threads: int = 0
    spinning: bool = False


class Driver(Protocol):
    """A device. One job at a time; every implementation passes the same contract suite.

    Cancelling the task that awaits a call is how a job is cancelled: when the call is
    left, whatever way, nothing of it runs on the device any more.
    """

    @property
    def name(self) -> str:
        """ "devices/{device}"."""
        ...

    async def describe(self) -> Capabilities:
        """What the device is and can do; reads it anew at each call, within 5 s.

        Raises:
            EdgeconvError: DEVICE_FAILED when the device does not answer.
        """
        ...

    async def prepare(self, job: Job) -> None:
        """Brings to the device what the job needs; twice is as good as once.

        Raises:
            EdgeconvError: EXTRA_MISSING when nothing there runs the format; DEVICE_FAILED.
        """
        ...

    async def measure(self, job: Job, report: Report) -> ResultFiles:
        """Measures a prepared job.

        Args:
            report: Called from this event loop, as often as there is news.

        Returns:
            Files in `job.scratch`.

        Raises:
            EdgeconvError: `bench.failure.owner_of` tells whose fault it is.
        """
        ...

    async def release(self, job: Job) -> None:
        """Removes from the device what `prepare` brought; never raises for an absent one."""
        ...
