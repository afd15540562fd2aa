"""What a child says, read with care: a model's file may lead it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeconv.base.errors import EdgeconvError

LONGEST_WORDS = 1600
_MOST_ENTRIES = 32
_OF_AN_END = ("facts", "effect", "agreement", "wall_ns", "peak_memory_bytes")


def progress_of(message: Mapping[str, Any]) -> tuple[float, str]:
    """Fraction and words of a message of progress.

    Raises:
        ValueError: it is none.
    """
    fraction, words = message["progress"], message.get("message")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise ValueError("progress that is no number")
    if not isinstance(words, str):
        raise ValueError("progress without words")
    return float(fraction), _short(words)


def done_of(said: Any) -> dict[str, Any]:
    """What a child says of a step that it has done: facts, effect, agreement, wall_ns,
    peak_memory_bytes, as far as they are there.

    Nothing else: which files it made, this process has looked up itself.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(said, Mapping):
        raise ValueError("an end that is no JSON object")
    return {key: _visible(said[key]) for key in _OF_AN_END if key in said}


def error_of(said: Any) -> EdgeconvError:
    """The error that a child says a step ended with, not longer than one can be read.

    Raises:
        ValueError: it is none.
    """
    try:
        error = EdgeconvError.from_json(said)
        fields = [(violation.field, violation.message) for violation in error.violations]
    except (AttributeError, TypeError, ValueError):
        raise ValueError("a failure that is no error") from None
    if not all(isinstance(each, str) for pair in fields for each in pair):
        raise ValueError("a failure that is no error")
    short = {
        "reason": error.reason.name,
        "message": _short(error.message),
        "fix": _short(error.fix),
        "violations": [[_short(each) for each in pair] for pair in fields[:_MOST_ENTRIES]],
        "metadata": {
            _short(key): _short(value)
            for key, value in list(error.metadata.items())[:_MOST_ENTRIES]
        },
    }
    return EdgeconvError.from_json(short)


def _visible(value: Any) -> Any:
    """U+0000 as "\\x00": names come out of a model's file, and no database keeps it everywhere."""
    if isinstance(value, str):
        return value.replace("\0", "\\x00")
    if isinstance(value, Mapping):
        return {_visible(key): _visible(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_visible(each) for each in value]
    return value


def _short(text: str) -> str:
    text = _visible(text)
    return text if len(text) <= LONGEST_WORDS else f"{text[:LONGEST_WORDS]} …"
