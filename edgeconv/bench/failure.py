"""Whose fault a failed measurement is: that decides whether it is tried elsewhere."""

from __future__ import annotations

from enum import StrEnum

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.record import IMPORT, PHASES
from edgeconv.sandbox.child import OUT_OF_MEMORY

PHASE_KEY = "phase"
"""Metadata of an error: the phase in which a measuring child was."""
ENDED_BY_KEY = "ended_by"
"""Metadata of an error: "signal NAME", "status N" or "out of memory" of a child that died."""


class FailureOwner(StrEnum):
    """Whose fault it is; the names are those of the wire's enum."""

    MODEL = "model"
    DEVICE = "device"
    INFRASTRUCTURE = "infrastructure"


_OF_THE_MODEL = {
    Reason.RUNTIME_REFUSED,
    Reason.LIMIT_EXCEEDED,
    Reason.DATASET_INVALID,
    Reason.DATASET_MISMATCH,
    Reason.DIMENSION_UNKNOWN,
    Reason.SHAPE_INVALID,
    Reason.MODEL_UNREADABLE,
    Reason.FIELD_INVALID,
}
_OF_THE_DEVICE = {Reason.EXTRA_MISSING, Reason.DEVICE_FAILED}
# SIGKILL comes from the system short of memory, or from a person: another device may do.
_FROM_OUTSIDE = {
    OUT_OF_MEMORY, "signal SIGKILL", "signal SIGTERM", "signal SIGINT", "signal SIGHUP",
}  # fmt: skip


def owner_of(error: EdgeconvError) -> FailureOwner:
    """Whose fault a failure is.

    A process that crashes while it loads or runs the model accuses the model; one that
    crashes while it imports the runtime accuses the device.
    """
    if error.metadata.get(ENDED_BY_KEY) in _FROM_OUTSIDE:
        return FailureOwner.DEVICE
    if error.reason in _OF_THE_MODEL:
        return FailureOwner.MODEL
    if error.reason in _OF_THE_DEVICE:
        return FailureOwner.DEVICE
    if error.reason is Reason.CHILD_DIED:
        return _owner_of_death(error)
    return FailureOwner.INFRASTRUCTURE


def _owner_of_death(error: EdgeconvError) -> FailureOwner:
    phase = error.metadata.get(PHASE_KEY)
    if phase == IMPORT:
        return FailureOwner.DEVICE
    if phase in PHASES or phase == "outputs":
        return FailureOwner.MODEL
    return FailureOwner.INFRASTRUCTURE
