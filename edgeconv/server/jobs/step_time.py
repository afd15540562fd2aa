"""How long a step may take. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.lock import WAITING_SHARED
from edgeconv.recipe.doing import doing
from edgeconv.recipe.specs import StepKind

LONGEST_WAIT_S = 3600.0
"""For a measurement, or for libraries: what is waited for is no doing of the step's."""

_INSPECTIONS = (StepKind.INSPECT, StepKind.INSPECT_DATASET)


@dataclass(frozen=True)
class StepTimes:
    """The longest that a step may take.

    Attributes:
        step_s: Of a conversion.
        inspection_s: Of a model or a dataset.
    """

    step_s: float = 1800.0
    inspection_s: float = 600.0

    def of(self, kind: str) -> float:
        """Seconds for a step of that kind."""
        return self.inspection_s if kind in _INSPECTIONS else self.step_s


class StepClock:
    """When a step has had its time, by what its child says.

    A child that waits for a measurement on this machine says so first, and then that it
    begins; it is believed for `LONGEST_WAIT_S`, for what it does next may be hostile.
    """

    def __init__(self, limit_s: float, now_s: float) -> None:
        self._limit_s = limit_s
        self._sent_s = now_s
        self._began = False
        self.ends_s = now_s + limit_s

    def hear(self, words: str, now_s: float) -> None:
        """Takes a word of the child's progress."""
        if self._began:
            return
        if words == WAITING_SHARED:
            self.ends_s = self._sent_s + LONGEST_WAIT_S
        else:
            self._began = True
            self.ends_s = now_s + self._limit_s


def took_too_long(
    kind: str, name: str, limit_s: float, *, command: str = "Start the server"
) -> EdgeconvError:
    """The error of a step that was ended for its time.

    Args:
        command: What a longer time is an option of, in words.
    """
    inspecting = kind in _INSPECTIONS
    option = "--inspection-time" if inspecting else "--step-time"
    what = doing(StepKind(kind), name)
    return EdgeconvError(
        Reason.LIMIT_EXCEEDED,
        f"It took longer than {_in_words(limit_s)} in {what}, and was ended.",
        fix=f"{command} with a longer {option}, or send a smaller"
        f" {'file' if inspecting else 'model'}.",
        step=name,
        limit_s=f"{limit_s:g}",
    )


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 120 else f"{seconds:g} s"
