"""The one error type and the closed catalogue of its reasons.

A reason has the canonical gRPC status it travels under and one sentence of meaning. The
message of an error names the field, node or file; `fix` says what to do. Dynamic values
stand in `metadata` too, so that a program need not parse the message (AIP-193).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from edgeconv.base.exit_codes import ExitCode
from edgeconv.base.sentences import sentences


class Status(Enum):
    """The canonical gRPC codes that edgeconv answers with, and the exit code of each."""

    CANCELLED = (1, ExitCode.INTERRUPTED)
    INVALID_ARGUMENT = (3, ExitCode.BAD_INPUT)
    DEADLINE_EXCEEDED = (4, ExitCode.INFRASTRUCTURE)
    NOT_FOUND = (5, ExitCode.PRECONDITION)
    ALREADY_EXISTS = (6, ExitCode.PRECONDITION)
    PERMISSION_DENIED = (7, ExitCode.REFUSED)
    RESOURCE_EXHAUSTED = (8, ExitCode.INFRASTRUCTURE)
    FAILED_PRECONDITION = (9, ExitCode.PRECONDITION)
    ABORTED = (10, ExitCode.INFRASTRUCTURE)
    UNIMPLEMENTED = (12, ExitCode.BAD_INPUT)
    INTERNAL = (13, ExitCode.UNEXPECTED)
    UNAVAILABLE = (14, ExitCode.INFRASTRUCTURE)
    DATA_LOSS = (15, ExitCode.INFRASTRUCTURE)
    UNAUTHENTICATED = (16, ExitCode.REFUSED)

    def __init__(self, code: int, exit_code: ExitCode) -> None:
        self.code = code
        self.exit_code = exit_code


class Reason(Enum):
    """Why something was refused or failed: (status, one sentence).

    The exit code is the status's, where the reason does not name one of its own.
    """

    # What is seen at the call.
    USAGE_INVALID = (
        Status.INVALID_ARGUMENT,
        "The command line has an unknown word or a bad value.",
        ExitCode.USAGE,
    )
    FIELD_INVALID = (Status.INVALID_ARGUMENT, "A field of the request is missing or malformed.")
    RECIPE_INVALID = (Status.INVALID_ARGUMENT, "The recipe has an unknown key or a bad value.")
    DIGEST_MISMATCH = (Status.INVALID_ARGUMENT, "The bytes sent don't have the digest named.")
    PART_MISSING = (Status.INVALID_ARGUMENT, "A part of a file was not sent before.")
    SHAPE_INVALID = (Status.INVALID_ARGUMENT, "A given shape does not fit the model's input.")
    NOT_FOUND = (Status.NOT_FOUND, "There is no such resource.")
    COLLECTED = (Status.NOT_FOUND, "Its files were removed by retention; its record is kept.")
    ALREADY_EXISTS = (Status.ALREADY_EXISTS, "A resource of that name exists.")
    NOT_READY = (Status.FAILED_PRECONDITION, "The resource is not READY, or not in that state.")
    UNAUTHENTICATED = (Status.UNAUTHENTICATED, "The call carries no valid token.")
    LIMIT_REACHED = (Status.RESOURCE_EXHAUSTED, "A stated limit of the service is reached.")
    TIME_EXCEEDED = (Status.DEADLINE_EXCEEDED, "A call took longer than the service lets it.")
    # What only the child can see in a model or a dataset.
    MODEL_UNREADABLE = (Status.INVALID_ARGUMENT, "The file is not a whole, valid model.")
    MODEL_UNSAFE = (Status.INVALID_ARGUMENT, "The file holds something that could run code.")
    OPERATOR_UNSUPPORTED = (Status.INVALID_ARGUMENT, "The graph uses an operator not supported.")
    DIMENSION_UNKNOWN = (Status.INVALID_ARGUMENT, "A dynamic axis was given no size.")
    DATASET_INVALID = (Status.INVALID_ARGUMENT, "An array is missing, misshapen or not finite.")
    DATASET_MISMATCH = (
        Status.FAILED_PRECONDITION,
        "The dataset does not fit the model.",
        ExitCode.BAD_INPUT,
    )
    # What a step or a variant can end in.
    DATA_NEEDED = (Status.FAILED_PRECONDITION, "The variant needs data that was not given.")
    NOTHING_TO_DO = (Status.FAILED_PRECONDITION, "The step found nothing to change.")
    NOT_APPLICABLE = (Status.FAILED_PRECONDITION, "The step can't be applied to this model.")
    LOWERING_FAILED = (Status.INTERNAL, "The converter for the target refused the program.")
    AGREEMENT_LOST = (Status.FAILED_PRECONDITION, "The file does not compute what its source does.")
    SIGNATURE_CHANGED = (Status.INTERNAL, "A step changed names, order, dtypes or shapes.")
    RUNTIME_REFUSED = (Status.FAILED_PRECONDITION, "The runtime can't load or run the file.")
    LIMIT_EXCEEDED = (Status.RESOURCE_EXHAUSTED, "A step needed more time or memory than allowed.")
    CHILD_DIED = (Status.INTERNAL, "The process that did a step ended without an answer.")
    NO_VARIANT = (Status.FAILED_PRECONDITION, "No variant of the conversion succeeded.")
    CANCELLED = (Status.CANCELLED, "It was cancelled.")
    # Devices and leases.
    LEASE_LOST = (Status.ABORTED, "The lease expired or was given to another.")
    NO_DEVICE = (Status.FAILED_PRECONDITION, "No registered device matches the selector.")
    DEVICE_FAILED = (Status.UNAVAILABLE, "The device failed while measuring.")
    # The installation.
    EXTRA_MISSING = (Status.UNIMPLEMENTED, "A part of edgeconv is not installed.")
    STATE_LOCKED = (Status.FAILED_PRECONDITION, "Another server uses the state folder.")
    DECLARED_DEAD = (Status.ABORTED, "Another server took this one for dead and does its jobs.")
    STATE_UNWRITABLE = (Status.FAILED_PRECONDITION, "The state folder can't be made or written.")
    DATABASE_UNAVAILABLE = (
        Status.UNAVAILABLE,
        "The server's database does not answer, or not in time.",
    )
    DATABASE_NEWER = (
        Status.FAILED_PRECONDITION,
        "A newer edgeconv has changed the database's tables.",
    )
    BLOBS_ELSEWHERE = (
        Status.FAILED_PRECONDITION,
        "The folder of blobs is another database's, or not the one that this one's files lie in.",
    )
    OUTPUT_UNWRITABLE = (Status.FAILED_PRECONDITION, "The place for the result can't be written.")
    SERVER_UNREACHABLE = (Status.UNAVAILABLE, "No server answers at the address.")
    DISK_FULL = (Status.RESOURCE_EXHAUSTED, "The disk has no room for what is to be written.")
    DISK_FAILED = (Status.UNAVAILABLE, "The server's disk refuses to be written or read.")
    BLOB_DAMAGED = (Status.DATA_LOSS, "A stored blob does not have its digest.")
    INTERNAL = (Status.INTERNAL, "A fault of edgeconv itself.")

    def __init__(self, status: Status, meaning: str, exit_code: ExitCode | None = None) -> None:
        self.status = status
        self.meaning = meaning
        self.exit_code = status.exit_code if exit_code is None else exit_code


@dataclass(frozen=True)
class FieldViolation:
    """A field and what is wrong with it; `field` is a path such as `variants.int8.precision`."""

    field: str
    message: str


class EdgeconvError(Exception):
    """What edgeconv raises on purpose.

    Args:
        reason: Out of the closed catalogue.
        message: One sentence that names the field, node or file.
        fix: What the user can do, one sentence; empty when nothing.
        violations: Fields that are wrong, when it is a matter of fields.
        retry_s: Seconds after which the same call may well succeed; 0 when it would not.
        metadata: Every dynamic value of the message, as strings.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        fix: str = "",
        violations: Iterable[FieldViolation] = (),
        retry_s: float = 0.0,
        **metadata: object,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.fix = fix
        self.violations = tuple(violations)
        self.retry_s = retry_s
        self.metadata = {key: str(value) for key, value in metadata.items()}

    def __str__(self) -> str:
        return sentences(self.message, self.fix)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that ends with this error."""
        return self.reason.exit_code

    def to_json(self) -> dict[str, Any]:
        """As plain data, for pipes and tables."""
        return {
            "reason": self.reason.name,
            "message": self.message,
            "fix": self.fix,
            "violations": [[v.field, v.message] for v in self.violations],
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EdgeconvError:
        """The inverse of `to_json`; a reason not in the catalogue becomes INTERNAL."""
        name = data.get("reason", "")
        reason = Reason[name] if name in Reason.__members__ else Reason.INTERNAL
        error = cls(
            reason,
            str(data.get("message", "")),
            fix=str(data.get("fix", "")),
            violations=(FieldViolation(field, text) for field, text in data.get("violations", ())),
        )
        error.metadata = {str(k): str(v) for k, v in data.get("metadata", {}).items()}
        return error
