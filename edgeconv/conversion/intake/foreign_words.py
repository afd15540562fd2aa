"""What a library's exception says, fit to stand in a refusal."""

from __future__ import annotations

import re

_PLACE_IN_CODE = re.compile(
    r"(?:\[enforce fail at )?[\w./-]+\.(?:cpp|cc|cu|h):\d+\]?"
    r"(?:: \w+: Assertion `[^`]*` failed)?[\s:.]*"
)
_ASSERTION = re.compile(r' INTERNAL ASSERT FAILED at "[^"]*":\d+, please report a bug to PyTorch\.')


def first_words(error: BaseException, most: int = 200) -> str:
    """The first line of an exception, without the places of its library's own code.

    Where an exception has no words but a key, or none at all, its type stands before them.
    """
    lines = str(error).strip().splitlines()
    line = _ASSERTION.sub(" does not hold.", lines[0]) if lines else ""
    words = _PLACE_IN_CODE.sub("", line)[:most].strip()
    return words if " " in words else f"{type(error).__name__} {words}".strip()
