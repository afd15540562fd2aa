"""Tells a runtime that crashes on a file from a fault of edgeconv."""

from __future__ import annotations

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.runtimes.catalogue import RUNTIMES

_FAULTS = frozenset(
    f"signal {name}" for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL")
)


def refused_by_crash(kind: str, step: str, made: str, died: EdgeconvError) -> EdgeconvError | None:
    """What the death of a process says of the runtime that it had a file in.

    Args:
        kind: The kind of the step that the process was at; a verification does nothing
            but run the file.
        made: The format of the file.
        died: How the process ended.

    Returns:
        RUNTIME_REFUSED naming runtime, version and signal; None when the runtime is not
        to blame.
    """
    how = died.metadata.get("ended_by", "")
    runtime = next((each for each in RUNTIMES if each.format == made), None)
    if kind != "verify" or runtime is None or how not in _FAULTS:
        return None
    name = f"{runtime.title} {runtime.installed_version() or ''}".strip()
    return EdgeconvError(
        Reason.RUNTIME_REFUSED,
        f"{name} crashes on the file, with {how}, during step {step}.",
        fix="Choose another precision or target for this model, or another version of"
        f" {runtime.title}.",
        step=step,
        runtime=runtime.title,
        ended_by=how,
    )
