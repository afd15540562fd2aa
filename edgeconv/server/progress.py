"""How far things are. Kept in memory only: durable events tell what has happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class ProgressNow:
    """The latest word on a subject; `fraction` is negative when it can't be told."""

    count: int
    subject: str
    fraction: float
    message: str


class ProgressBoard:
    """The latest progress of each conversion's subjects."""

    def __init__(self, touch: Callable[[Iterable[str]], None]) -> None:
        self._touch = touch
        self._count = 0
        self._latest: dict[str, dict[str, ProgressNow]] = {}

    def say(self, conversion: str, subject: str, fraction: float, message: str) -> None:
        """Notes progress; `conversion` is a resource name, `subject` a step or benchmark."""
        latest = self._latest.setdefault(conversion, {})
        before = latest.get(subject)
        if before and (before.fraction, before.message) == (fraction, message):
            return
        self._count += 1
        latest[subject] = ProgressNow(self._count, subject, fraction, message)
        self._touch([conversion])

    def since(self, conversion: str, count: int) -> list[ProgressNow]:
        """What was said after `count`, in order; the latest of each subject."""
        latest = self._latest.get(conversion, {}).values()
        return sorted((now for now in latest if now.count > count), key=lambda now: now.count)

    def forget(self, conversion: str, subject: str | None = None) -> None:
        """Drops a subject that has ended, or all of a conversion."""
        if subject is None:
            self._latest.pop(conversion, None)
        else:
            self._latest.get(conversion, {}).pop(subject, None)
