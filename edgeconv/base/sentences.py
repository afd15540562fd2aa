"""Puts sentences of several makers together: one mark at the end of each, never two."""

from __future__ import annotations

from collections.abc import Iterable

_ENDS = (".", "!", "?", "…", ":")
_LOOSE = " \t\r\n.;,"


def clause(text: str) -> str:
    """A sentence as a part of a larger one: without what ends it."""
    return text.strip().rstrip(_LOOSE)


def clauses(parts: Iterable[str]) -> str:
    """Sentences as one list, "a; b; c", without an end of its own; empty ones are left out."""
    return "; ".join(part for part in map(clause, parts) if part)


def sentences(*parts: str) -> str:
    """Sentences one behind the other; one that has no end gets a full stop before the next.

    The last one stays as it is.
    """
    found = [part.strip() for part in parts if part.strip()]
    ended = [part if part.endswith(_ENDS) else f"{part}." for part in found[:-1]]
    return " ".join([*ended, *found[-1:]])
