"""Whether the words of a refusal are of use to somebody who has only the file."""

from __future__ import annotations

import re
import unicodedata

from edgeconv.base.errors import EdgeconvError

LONGEST = 700
_INTERNALS = re.compile(
    r"""0x[0-9a-f]{6,}                        # where an object lay in memory
    | [\w/.-]+\.(?:py|cc|cpp|cu|h):\d        # a line of somebody's code
    | /(?:tmp|home|usr|root|work|project|opt|site-packages)/[\w.-]+/   # a folder of this machine
    | Traceback\ \(most\ recent | \bFakeTensor | <class\ '
    """,
    re.VERBOSE,
)
_NO_MEMORY = re.compile(r"allocate memory|bad_alloc|Unable to allocate|out of memory", re.I)


def complaint_of(error: EdgeconvError) -> str:
    """What is wrong with a refusal's words; empty when nothing is."""
    words = error.message
    if not words.strip():
        return "it says nothing"
    if len(words) > LONGEST:
        return f"it has {len(words)} characters"
    if any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in words):
        return "it has control characters"
    if not error.metadata and not error.violations:
        return "it names nothing"
    if found := _INTERNALS.search(words):
        return f"it tells of the inside: {found[0]!r}"
    return ""


def is_of_memory(error: EdgeconvError) -> bool:
    """Whether the words of a refusal are those of an allocation that failed."""
    return bool(_NO_MEMORY.search(error.message))
