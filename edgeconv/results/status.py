"""An error as `google.rpc.Status` and back; the form in which errors travel and are kept."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.quantities import NS_PER_S
from edgeconv.results.job import Failure

DOMAIN = "edgeconv"
_FIX = "fix"


def to_status(error: EdgeconvError) -> status_pb2.Status:
    """Status with `ErrorInfo`, `BadRequest` when fields are wrong, and `RetryInfo` when the
    same call may succeed later.

    `ErrorInfo.metadata` holds the error's metadata, and under "fix" what to do.
    """
    status = status_pb2.Status(code=error.reason.status.code, message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason.name, domain=DOMAIN)
    info.metadata.update(error.metadata)
    if error.fix:
        info.metadata[_FIX] = error.fix
    status.details.add().Pack(info)
    if error.violations:
        request = error_details_pb2.BadRequest()
        for violation in error.violations:
            request.field_violations.add(field=violation.field, description=violation.message)
        status.details.add().Pack(request)
    if error.retry_s:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_s * NS_PER_S))
        status.details.add().Pack(retry)
    return status


def from_status(status: status_pb2.Status) -> EdgeconvError:
    """The inverse of `to_status`; a status of another make becomes INTERNAL, message kept."""
    reason, fix = Reason.INTERNAL, ""
    metadata: dict[str, str] = {}
    violations: list[FieldViolation] = []
    retry_s = 0.0
    for detail in status.details:
        info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if _unpacks(detail, info):
            if info.domain == DOMAIN and info.reason in Reason.__members__:
                reason = Reason[info.reason]
            metadata = dict(info.metadata)
            fix = metadata.pop(_FIX, "")
        elif _unpacks(detail, request):
            violations += [FieldViolation(v.field, v.description) for v in request.field_violations]
        elif _unpacks(detail, retry):
            retry_s = retry.retry_delay.ToNanoseconds() / NS_PER_S
    error = EdgeconvError(
        reason, status.message, fix=fix, violations=violations, retry_s=max(retry_s, 0.0)
    )
    error.metadata = metadata
    return error


def _unpacks(detail: Any, message: Message) -> bool:
    """Reads a detail into a message; one that lies about its type is one of another make."""
    try:
        return bool(detail.Unpack(message))
    except DecodeError:
        return False


def to_failure(status: status_pb2.Status) -> Failure:
    """A status as results and reports show it."""
    error = from_status(status)
    return Failure(reason=error.reason.name, message=error.message, fix=error.fix)
