"""What runs and what waits behind it, as it was at one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeconv.server.engine.engine import Job, JobKind


@dataclass(frozen=True)
class Lines:
    """The jobs of each kind, in the order they are begun; many may ask it."""

    _jobs: dict[JobKind, list[Job]]
    _running: dict[JobKind, int]
    _places: dict[Job, int]

    @classmethod
    def of(cls, jobs: Iterable[tuple[Job, bool]]) -> Lines:
        """Those of jobs that stand in order, each with whether it waits still."""
        told = sorted(jobs, key=lambda each: each[1])
        lines: dict[JobKind, list[Job]] = {kind: [] for kind in JobKind}
        running = dict.fromkeys(JobKind, 0)
        places: dict[Job, int] = {}
        for job, waits in told:
            places.setdefault(job, len(lines[job.kind]))
            lines[job.kind].append(job)
            running[job.kind] += not waits
        return cls(lines, running, places)

    def knows(self, job: Job) -> bool:
        """Whether it runs or waits."""
        return job in self._places

    def ahead_of(self, job: Job) -> list[Job]:
        """What must begin or end before a queued job begins, in the order it was started.

        Empty for a job that runs or is not known.
        """
        place = self._places.get(job, 0)
        return self._jobs[job.kind][:place] if place >= self._running[job.kind] else []
