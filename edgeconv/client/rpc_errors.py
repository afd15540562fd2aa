"""What a failed call means, as an EdgeconvError."""

from __future__ import annotations

import grpc
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.results.status import DOMAIN, from_status

_DETAILS_KEY = "grpc-status-details-bin"
_CROWD = "Concurrent RPC limit exceeded!"
"""What gRPC itself says where calls come faster than they can be looked at."""
_CROWD_S = 2.0
_BARE_CODES = {
    grpc.StatusCode.UNAUTHENTICATED: Reason.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED: Reason.UNAUTHENTICATED,
    grpc.StatusCode.NOT_FOUND: Reason.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Reason.ALREADY_EXISTS,
    grpc.StatusCode.INVALID_ARGUMENT: Reason.FIELD_INVALID,
    grpc.StatusCode.FAILED_PRECONDITION: Reason.NOT_READY,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.LIMIT_REACHED,
}


def from_rpc_error(error: grpc.aio.AioRpcError, address: str) -> EdgeconvError:
    """The error that the server sent, or what its absence means.

    Args:
        address: Where the server was called; named when it does not answer.
    """
    if (sent := _sent_status(error)) is not None:
        return from_status(sent)
    code, details = error.code(), error.details() or ""
    # A call that this side cancels raises asyncio.CancelledError: CANCELLED comes from a
    # server that goes away.
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return unreachable(address, details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return unreachable(address, "It did not answer in time.")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return EdgeconvError(
            Reason.INTERNAL,
            f"The server at {address} does not know this call.",
            fix="Use the same version of edgeconv here and on the server.",
            address=address,
        )
    if code in _BARE_CODES:
        retry_s = _CROWD_S if details == _CROWD else 0.0
        return EdgeconvError(_BARE_CODES[code], details, retry_s=retry_s, address=address)
    return EdgeconvError(
        Reason.INTERNAL, f"The server at {address} failed: {code.name}: {details}", address=address
    )


def unreachable(address: str, details: str = "") -> EdgeconvError:
    """SERVER_UNREACHABLE, naming the address."""
    return EdgeconvError(
        Reason.SERVER_UNREACHABLE,
        f"The server at {address} does not answer.",
        fix="Check the address and that the server runs.",
        address=address,
        details=details,
    )


def _sent_status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    """The Status that edgeconv's server attached; None when another spoke."""
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
        except DecodeError:
            return None
        return status if any(DOMAIN.encode() in d.value for d in status.details) else None
    return None
