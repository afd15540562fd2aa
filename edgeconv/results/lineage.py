"""Where an artifact comes from: the source's digest and every step with its effect."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from edgeconv.results.effect import Effect


class LineageStep(BaseModel):
    """One step: its spec's name and revision, its options and what it changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str
    revision: int
    options: dict[str, Any] = {}
    seed: int = 0
    effect: Effect | None = None


class Lineage(BaseModel):
    """From the source's bundle digest on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    steps: tuple[LineageStep, ...] = ()

    def then(self, step: LineageStep) -> Lineage:
        """This lineage with one more step."""
        return self.model_copy(update={"steps": (*self.steps, step)})
