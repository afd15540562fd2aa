"""Makes a case smaller while the same still becomes of it, so that somebody can read it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

from fuzzing.cases import Case
from fuzzing.outcomes import Outcome
from fuzzing.program_seeds import MODEL, members_of, packed
from fuzzing.wire_changes import Field, encoded, fields_of

Run = Callable[[Case], Awaitable[Outcome]]
_FEWEST = 1


async def smaller(case: Case, run: Run, most_tries: int = 400) -> tuple[Case, Outcome]:
    """The case with as few fields or entries as still end in the same way.

    An ONNX model loses fields of its message, a saved program members and entries of its
    graph. First halves are tried, then quarters, down to single ones.
    """
    outcome = await run(case)
    tries = 0
    for name in list(case.files):
        parts = _parts(case.files[name])
        if parts is None:
            continue
        size = max(_FEWEST, parts.count() // 2)
        while tries < most_tries:
            place, gone = 0, False
            while place < parts.count() and tries < most_tries:
                tries += 1
                tried = replace(case, files={**case.files, name: parts.without(place, size)})
                if _same(await run(tried), outcome):
                    case, gone = tried, True
                    parts.drop(place, size)
                else:
                    place += size
            if size == _FEWEST and not gone:
                break
            size = max(_FEWEST, size // 2)
    return case, outcome


def _same(first: Outcome, second: Outcome) -> bool:
    """Whether both ended at the same place for the same reason, whatever names they tell."""
    return (first.what, first.stage, first.complaint[:20], _stem(first)) == (
        second.what, second.stage, second.complaint[:20], _stem(second)
    )  # fmt: skip


def _stem(outcome: Outcome) -> str:
    """The words without what stands in quotes and without numbers."""
    quoted = outcome.words.split("'")[::2]
    return "".join(each for each in "".join(quoted) if not each.isdigit())[:80]


class _Parts:
    """What can be taken out of a file: (holder, key) pairs, largest first."""

    def __init__(self, whole: Any, write: Callable[[Any], bytes]) -> None:
        self._whole = whole
        self._write = write

    def count(self) -> int:
        return sum(1 for _ in _places(self._whole))

    def without(self, place: int, size: int) -> bytes:
        """The file without some of its parts."""
        return self._write(_cut(self._whole, place, size))

    def drop(self, place: int, size: int) -> None:
        """Takes them out for good."""
        self._whole = _cut(self._whole, place, size)


def _parts(data: bytes) -> _Parts | None:
    if not data.startswith(b"PK"):
        fields = fields_of(data)
        return _Parts(fields, encoded) if fields else None
    try:
        content = members_of(data)
        model = json.loads(content[MODEL])
    except (ValueError, KeyError, OSError, NotImplementedError):
        return None

    def write(value: Any) -> bytes:
        return packed({**content, MODEL: json.dumps(value).encode()})

    return _Parts(model, write)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Everything that can be taken out, outermost first."""
    pending = [value]
    for each in pending:
        if isinstance(each, Field):
            pending.extend([each.fields] if each.fields is not None else [])
        elif isinstance(each, dict | list):
            for key in list(each) if isinstance(each, dict) else range(len(each)):
                yield each, key
                pending.append(each[key])


def _cut(value: Any, place: int, size: int) -> Any:
    """A copy without the parts from a place on."""
    made = _copied(value)
    chosen = list(_places(made))[place : place + size]
    for holder, key in reversed(chosen):
        del holder[key]
    return made


def _copied(value: Any) -> Any:
    if isinstance(value, Field):
        return Field(value.number, value.wire, value.content, _copied(value.fields))
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return value
