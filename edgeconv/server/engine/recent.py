"""Names that matter for a while only."""

from __future__ import annotations

from collections.abc import Iterable


class Recent:
    """Names that were noted lately: one stays until `age` was called twice since."""

    def __init__(self) -> None:
        self._young: set[str] = set()
        self._old: set[str] = set()

    def __contains__(self, name: object) -> bool:
        return name in self._young or name in self._old

    def __len__(self) -> int:
        return len(self._young | self._old)

    def note(self, names: Iterable[str]) -> None:
        """Adds names."""
        self._young.update(names)

    def drop(self, name: str) -> None:
        """Takes a name off, if it is there."""
        self._young.discard(name)
        self._old.discard(name)

    def age(self) -> None:
        """Forgets what was noted before the call before this one."""
        self._young, self._old = set(), self._young
