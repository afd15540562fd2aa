"""What is asked of a measurement, and what each named effort means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.runtimes.catalogue import runtime_by_name

_MOST_THREADS_UNASKED = 4
_MOST_THREADS = 256


@dataclass(frozen=True)
class Effort:
    """How long a measurement goes on.

    Attributes:
        processes: Fresh processes, one block each.
        least_samples: Steady samples of a process, however long they take.
        least_s: Steady time of a process, however many samples that makes.
        limit_s: Steady time after which a process ends once it has the least.
        settle_within: A process ends early when the 95 % interval of its median lies
            within ± this share; None never.
        settle_samples: … and it has this many samples.
        warm_loads: Loads with the file in memory.
        idle_inferences: Inferences that follow an idle time.
        idle_s: That idle time.
    """

    processes: int
    least_samples: int
    least_s: float
    limit_s: float
    settle_within: float | None
    settle_samples: int
    warm_loads: int
    idle_inferences: int
    idle_s: float

    @property
    def most_samples(self) -> int:
        """Steady samples of a process for which there is room: one in 10 µs."""
        return max(round(self.limit_s * 100_000), self.least_samples)

    def is_done(self, samples: int, elapsed_s: float, settled: Callable[[], bool]) -> bool:
        """Whether the steady state of a process ends."""
        if samples >= self.most_samples:
            return True
        if samples < self.least_samples or elapsed_s < self.least_s:
            return False
        if elapsed_s >= self.limit_s:
            return True
        return self.settle_within is not None and samples >= self.settle_samples and settled()


EFFORTS: Mapping[str, Effort] = {
    # Three times 153 samples carry p99, five times 92 do too.
    "quick": Effort(3, 3, 0.2, 1.0, 0.01, 153, 2, 1, 0.2),
    "standard": Effort(5, 5, 0.5, 3.0, 0.01, 92, 3, 3, 0.3),
    "thorough": Effort(5, 205, 12.0, 12.0, None, 0, 5, 5, 1.0),
}
"""`thorough` is at least 1,024 samples and 60 seconds over its processes."""


@dataclass(frozen=True)
class MeasureRequest:
    """How a file is measured.

    Attributes:
        runtime: Name of a runtime of the catalogue.
        effort: "quick", "standard" or "thorough".
        threads: Threads of the runtime; 0 is the number of physical cores, at most 4.
        spinning: Whether idle threads of the runtime spin.
        shapes: Whole shapes of inputs with open axes, by name.

    Raises:
        EdgeconvError: FIELD_INVALID for a value that is none of these.
    """

    runtime: str
    effort: str = "quick"
    threads: int = 0
    spinning: bool = False
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        runtime_by_name(self.runtime)
        if self.effort not in EFFORTS:
            _refuse("effort", self.effort, f"use one of {', '.join(EFFORTS)}")
        if not 0 <= self.threads <= _MOST_THREADS:
            _refuse("threads", self.threads, f"use 0 (chosen for you) to {_MOST_THREADS}")

    @property
    def plan(self) -> Effort:
        """What the effort means."""
        return EFFORTS[self.effort]

    def threads_on(self, cores: int) -> int:
        """Threads to use on a machine with that many physical cores."""
        return self.threads or max(min(cores, _MOST_THREADS_UNASKED), 1)

    def to_json(self) -> dict[str, Any]:
        """As plain data, for pipes and records."""
        return {**asdict(self), "shapes": {k: list(v) for k, v in self.shapes.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MeasureRequest:
        """The inverse of `to_json`."""
        shapes = {name: tuple(shape) for name, shape in data.get("shapes", {}).items()}
        return cls(**{**data, "shapes": shapes})


def _refuse(name: str, value: object, fix: str) -> None:
    raise EdgeconvError(
        Reason.FIELD_INVALID,
        f"{name} can't be {value!r}; {fix}.",
        violations=[FieldViolation(name, fix)],
        value=value,
    )
