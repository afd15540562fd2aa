"""What a step changed, and what a user should know about it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NoteKind = Literal[
    "locked", "stayed_float", "not_delegated", "fallback", "widened", "clipped",
    "renamed", "dropped", "slower", "unstable", "flagged", "info",
]  # fmt: skip


class Note(BaseModel):
    """Something a user should know, said by the code that did it.

    Attributes:
        subject: What it is about: a node, tensor, layer or option.
        message: One sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: NoteKind
    subject: str = ""
    message: str


class Effect(BaseModel):
    """What a step changed. `changed` is at least 1: a step without effect is an error.

    Attributes:
        step: Name of the step's spec.
        summary: One sentence.
        figures: Numbers by name, for example `macs_before`, `channels_removed`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    summary: str
    changed: int = Field(ge=1)
    figures: dict[str, float] = {}
    notes: tuple[Note, ...] = ()
