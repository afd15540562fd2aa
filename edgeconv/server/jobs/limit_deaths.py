"""Tells a child that died of a limit from one that crashed. Pure."""

from __future__ import annotations

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.doing import doing
from edgeconv.recipe.specs import StepKind

_FIXES = {
    "disk": "Start the server with a higher --step-disk, where the disk has more, or choose"
    " smaller shapes.",
}
"""Limit → what helps. No honest step comes near the others."""

_LAST_WORDS = ("std::bad_alloc", "can't allocate memory", "Cannot allocate memory")


def ended_by_a_limit(kind: str, step: str, words: str, died: EdgeconvError) -> EdgeconvError | None:
    """What the death of a process says of the limits that it ran under.

    Args:
        words: The end of what it wrote to its standard error.
        died: How the process ended.

    Returns:
        LIMIT_EXCEEDED naming what was being done; None when it died of something else.
    """
    what = doing(StepKind(kind), step)
    if died.reason is Reason.LIMIT_EXCEEDED:
        fix = died.fix or _FIXES.get(died.metadata.get("limit", ""), "")
        words = f"{died.message.rstrip('.')}, in {what}."
        found = EdgeconvError(died.reason, words, fix=fix, step=step)
        found.metadata |= died.metadata
        return found
    aborted = died.metadata.get("ended_by") == "signal SIGABRT"
    if aborted and any(word in words for word in _LAST_WORDS):
        return EdgeconvError(
            Reason.LIMIT_EXCEEDED,
            f"It needed more memory than a step may have, in {what}.",
            fix="Start the server with a higher --step-memory, where the machine has more, or"
            " choose smaller shapes.",
            step=step,
        )
    return None
