"""What a library's exception says, fit to stand in a refusal."""

from __future__ import annotations

import re

_PLACE_IN_CODE = re.compile(
    r"(?:\[enforce fail at )?[\w./-]+\.(?:cpp|cc|cu|h):\d+\]?"
    r"(?:: \w+: Assertion `[^`]*` failed)?[\s:.]*"
)


def first_words(error: BaseException, most: int = 200) -> str:
    """The first line of an exception, without the places of its library's own code.

    Where an exception has no words but a key, or none at all, its type stands before them.
    """
    lines = str(error).strip().splitlines()
    words = _PLACE_IN_CODE.sub("", lines[0])[:most] if lines else ""
    return words if " " in words else f"{type(error).__name__} {words}".strip()
