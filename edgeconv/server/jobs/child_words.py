"""What a child says, read with care: a model's file may lead it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.inspection import DatasetInspection, Inspection
from edgeconv.recipe.specs import StepKind
from edgeconv.server.records import StepOutput

LONGEST_WORDS = 1600
_MOST_ENTRIES = 32
_DEEPEST = 32
_MOST_VALUES = 100_000
"""Of an end; an inspection of 4,000 inputs and outputs has some 40,000."""
_INSPECTED: Mapping[str, type[BaseModel]] = {
    StepKind.INSPECT: Inspection,
    StepKind.INSPECT_DATASET: DatasetInspection,
}
_OF_THE_SERVER = frozenset(
    {
        Reason.PART_MISSING, Reason.COLLECTED, Reason.BLOB_DAMAGED, Reason.CANCELLED,
        Reason.LEASE_LOST, Reason.DECLARED_DEAD, Reason.DATABASE_UNAVAILABLE,
    }
)  # fmt: skip
"""What is known here alone, and decides what becomes of a job."""
_OF_AN_END = ("facts", "effect", "agreement", "wall_ns", "peak_memory_bytes")


def progress_of(message: Mapping[str, Any]) -> tuple[float, str]:
    """Fraction and words of a message of progress.

    Raises:
        ValueError: it is none.
    """
    fraction, words = message.get("progress"), message.get("message")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float):
        raise ValueError("progress that is no number")
    if not isinstance(words, str):
        raise ValueError("progress without words")
    return float(fraction), _short(words)


def done_of(kind: str, said: Any) -> dict[str, Any]:
    """What a child says of a step of a kind that it has done: facts, effect, agreement,
    wall_ns, peak_memory_bytes, as far as they are there.

    Nothing else: which files it made, this process has looked up itself.

    Raises:
        ValueError: it is none, or can't be kept for others to read.
    """
    if not isinstance(said, Mapping):
        raise ValueError("an end that is no JSON object")
    _check_size(said)
    kept = {key: _visible(said[key]) for key in _OF_AN_END if key in said}
    for key in ("wall_ns", "peak_memory_bytes"):
        number = kept.get(key, 0)
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            raise ValueError(f"an end whose {key} is no count")
    try:
        output = StepOutput.model_validate(kept)
        if (inspected := _INSPECTED.get(kind)) is not None:
            inspected.model_validate(output.facts.get("inspection"))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, fault["loc"])) or "inspection"
        raise ValueError(_short(f"an end that is none at {place}: {fault['msg']}")) from None
    return kept


def _check_size(said: Any) -> None:
    """That it is no larger, nor nested deeper, than what reads it later can follow.

    Raises:
        ValueError: it is.
    """
    level, values = [said], 0
    for _ in range(_DEEPEST):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        values += len(level)
        if values > _MOST_VALUES:
            raise ValueError(f"an end of more than {_MOST_VALUES:,} values")
    if level:
        raise ValueError("an end that is nested too deep")


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
    if error.reason in _OF_THE_SERVER:
        raise ValueError(f"{error.reason.name}, which is not its to say")
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
