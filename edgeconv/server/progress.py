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
    """The latest progress of each resource's subjects: a conversion's steps and benchmarks,
    the inspection of a model version or dataset."""

    def __init__(self, touch: Callable[[Iterable[str]], None]) -> None:
        self._touch = touch
        self._count = 0
        self._latest: dict[str, dict[str, ProgressNow]] = {}

    def say(self, resource: str, subject: str, fraction: float, message: str) -> None:
        """Notes progress on a resource, given by its name."""
        latest = self._latest.setdefault(resource, {})
        before = latest.get(subject)
        if before and (before.fraction, before.message) == (fraction, message):
            return
        self._count += 1
        latest[subject] = ProgressNow(self._count, subject, fraction, message)
        self._touch([resource])

    def words(self, resource: str) -> str:
        """What was said last of a resource; empty when nothing was."""
        return max(self._latest.get(resource, {}).values(), key=_count, default=_NOTHING).message

    def since(self, resource: str, count: int) -> list[ProgressNow]:
        """What was said after `count`, in order; the latest of each subject."""
        latest = self._latest.get(resource, {}).values()
        return sorted((now for now in latest if now.count > count), key=_count)

    def forget(self, resource: str, subject: str | None = None) -> None:
        """Drops a subject that has ended, or all of a resource."""
        latest = self._latest.get(resource, {})
        latest.pop(subject or "", None)
        if subject is None or not latest:
            self._latest.pop(resource, None)

    def forget_changed(self, topics: Iterable[str]) -> None:
        """Drops the subjects among topics whose state has changed: a benchmark that has ended
        or went back to the queue. What is done anew is told anew."""
        changed = set(topics)
        for resource, latest in list(self._latest.items()):
            for subject in changed & latest.keys():
                self.forget(resource, subject)


_NOTHING = ProgressNow(0, "", -1.0, "")


def _count(now: ProgressNow) -> int:
    return now.count
