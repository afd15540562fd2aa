"""An error small enough for the headers that end a call.

gRPC sends a call's status as HTTP/2 headers. A client drops a call whose headers are larger
than it takes, 8 KiB by default, and says RESOURCE_EXHAUSTED whatever the status was. Errors
quote what was sent, which may be of any length.
"""

from __future__ import annotations

import base64
from urllib.parse import quote

from edgeconv.base.errors import EdgeconvError, FieldViolation
from edgeconv.results.status import to_status

ROOM_BYTES = 6000
"""For message and details; the rest of the 8 KiB is for what gRPC adds."""
_LENGTHS = (ROOM_BYTES, 1000, 500, 250, 120, 60)
_CHARACTERS_A_VIOLATION = 30


def fitted(error: EdgeconvError) -> EdgeconvError:
    """The error with texts as long, and as many violations, as fit.

    A text that was cut ends in "…"; a last violation says how many were left out.
    """
    for length in _LENGTHS:
        shorter = _shortened(error, length)
        if _size(shorter) <= ROOM_BYTES:
            break
    return shorter


def _shortened(error: EdgeconvError, length: int) -> EdgeconvError:
    kept = length // _CHARACTERS_A_VIOLATION
    violations = [
        FieldViolation(_cut(each.field, length), _cut(each.message, length))
        for each in error.violations[:kept]
    ]
    if more := len(error.violations) - len(violations):
        violations.append(FieldViolation("…", f"{more} more"))
    shorter = EdgeconvError(
        error.reason, _cut(error.message, length), fix=_cut(error.fix, length),
        violations=violations, retry_s=error.retry_s,
    )  # fmt: skip
    shorter.metadata = {key: _cut(value, length) for key, value in error.metadata.items()}
    return shorter


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _size(error: EdgeconvError) -> int:
    """Bytes of the message, percent-encoded, and of the details in base64, as they travel."""
    details = to_status(error).SerializeToString()
    return len(quote(error.message)) + len(base64.b64encode(details))
