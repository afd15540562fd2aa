"""Which walls stand around a child, and what it could do where one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Self

LANDLOCK = "Landlock"
SECCOMP = "seccomp"
LIMITS = "limits"
"""No wall of the kernel's, but as good as one where it lacks: each is a limit of a process."""
NEWEST = 1_000
"""Any version of Landlock's interface."""


@dataclass(frozen=True)
class Room:
    """What a child may touch: its own folder, these places, and what Python itself needs.

    Attributes:
        reads: Files and folders that it may read, with all that lies in them.
        writes: Files and folders beside its own that it may read and change.
        landlock: The newest version of its interface to use, as if the kernel had none that
            is newer; 0 builds no such wall.
        seccomp: Whether to build that wall.
    """

    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    landlock: int = NEWEST
    seccomp: bool = True

    def to_json(self) -> dict[str, Any]:
        """For the child's first message."""
        return {
            "reads": [str(path) for path in self.reads],
            "writes": [str(path) for path in self.writes],
            "landlock": self.landlock,
            "seccomp": self.seccomp,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            tuple(map(Path, said["reads"])),
            tuple(map(Path, said["writes"])),
            said["landlock"],
            said["seccomp"],
        )


class Gap(Enum):
    """What a child can do that walls would have kept it from.

    The value: the words after "a model's file could", the version of Landlock's interface
    that alone prevents it (None: no version does), and whether seccomp alone prevents it.
    """

    FILES = "read and write all files of this user", 1, False
    TRUNCATION = "empty files of this user", 3, True
    MODES = "change modes, owners and times of this user's files", None, True
    TCP = "connect over TCP", 4, True
    SOCKETS = "use sockets", None, True
    EXEC = "run programs", 1, True
    FORK = "leave processes behind", None, True
    SIGNALS = "send signals to this user's processes", 6, True
    # A filter can't tell /proc/PID/mem from other files.
    TRACING = "read and change the memory of this user's processes", 1, False
    LIMITS = "change limits and priorities of this user's processes, its own too", None, True
    KERNEL = "call rarely used parts of the kernel", None, True
    # Neither wall prevents it; the limits of the process do.
    RESOURCES = "take more memory, disk or descriptors than a step may", None, False

    def __init__(self, words: str, landlock: int | None, seccomp: bool) -> None:
        self.words = words
        self._landlock = landlock
        self._seccomp = seccomp

    def stands_open(self, landlock: int, seccomp: bool, limited: bool) -> bool:
        """Whether neither wall closes it, nor the limits of the process."""
        if self is Gap.RESOURCES:
            return not limited
        return not (
            (seccomp and self._seccomp)
            or (self._landlock is not None and landlock >= self._landlock)
        )


@dataclass(frozen=True)
class Walls:
    """The walls around a child, as it says itself before it has read anything.

    Attributes:
        landlock: Version of Landlock's interface in force; 0 is no Landlock.
        seccomp: Whether the filter of system calls is in force.
        reasons: Wall → why it is missing, in the kernel's words; `LIMITS` → those limits that
            could not be set.
    """

    landlock: int = 0
    seccomp: bool = False
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What the child can do for want of a wall."""
        limited = LIMITS not in self.reasons
        return tuple(gap for gap in Gap if gap.stands_open(self.landlock, self.seccomp, limited))

    @property
    def warning(self) -> str:
        """One sentence about the gaps; empty when there are none."""
        if not self.gaps:
            return ""
        missing = " and ".join(f"{wall} ({why})" for wall, why in self.reasons.items())
        could = "; ".join(gap.words for gap in self.gaps)
        return f"Without {missing or 'walls'} a model's file could: {could}."

    def to_json(self) -> dict[str, Any]:
        """For the channel."""
        return {
            "landlock": self.landlock,
            "seccomp": self.seccomp,
            "reasons": dict(self.reasons),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ValueError: it is none.
        """
        try:
            reasons = {str(wall): str(why) for wall, why in said["reasons"].items()}
            return cls(int(said["landlock"]), bool(said["seccomp"]), reasons)
        except (AttributeError, KeyError, TypeError):
            raise ValueError("no word about its walls") from None
