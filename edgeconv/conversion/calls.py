"""What a step is asked and what it answers, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeconv.base.disk import disk_error
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.memory_errors import needed_more_memory, wants_memory
from edgeconv.recipe.specs import StepKind
from edgeconv.results.agreement import Agreement
from edgeconv.results.effect import Effect

Report = Callable[[float, str], None]


@dataclass(frozen=True)
class StepInput:
    """A bundle that a step reads: its files and what its maker said of it.

    `digest` is the bundle's digest; lineages begin with the source's.
    """

    folder: Path
    digest: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StepCall:
    """One step to run.

    Attributes:
        folder: Where its files go; exists and is empty.
        scratch: For anything else; exists.
    """

    kind: StepKind
    name: str
    options: Mapping[str, Any]
    inputs: Mapping[str, StepInput]
    folder: Path
    scratch: Path
    seed: int


@dataclass(frozen=True)
class StepOutcome:
    """What a step says of the files it wrote; all of it plain JSON data in `to_json`."""

    facts: dict[str, Any] = field(default_factory=dict)
    effect: Effect | None = None
    agreement: Agreement | None = None

    def to_json(self) -> dict[str, Any]:
        """For pipes and tables: keys facts, effect, agreement."""
        return {
            "facts": self.facts,
            "effect": self.effect and self.effect.model_dump(mode="json"),
            "agreement": self.agreement and self.agreement.model_dump(mode="json"),
        }


def as_error(kind: StepKind, step: str, fault: Exception) -> EdgeconvError:
    """Anything that a step raised as an error of the project: INTERNAL for the unexpected.

    A want of memory is told as such, also where a library or a step took it for another fault.
    """
    if wants_memory(fault):
        return needed_more_memory(kind, step)
    if isinstance(fault, EdgeconvError):
        return fault
    if known := disk_error(fault, None, doing=f"step {step!r}"):
        return known
    return EdgeconvError(Reason.INTERNAL, f"Step {step!r} failed: {told(fault)}", step=step)


def told(fault: Exception) -> str:
    """Type and first line of a library's exception, which may have no words."""
    words = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {words[0][:300]}" if words else type(fault).__name__
