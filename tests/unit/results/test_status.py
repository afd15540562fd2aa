"""Errors as google.rpc.Status and back."""

from __future__ import annotations

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.results.status import from_status, to_failure, to_status

_WORDS = st.text(max_size=40)


@given(
    reason=st.sampled_from(Reason),
    message=_WORDS,
    fix=_WORDS,
    violations=st.lists(st.tuples(_WORDS, _WORDS), max_size=3),
    node=_WORDS,
    retry_ms=st.integers(0, 10**6),
)
def test_an_error_comes_back_as_it_was(
    reason: Reason,
    message: str,
    fix: str,
    violations: list[tuple[str, str]],
    node: str,
    retry_ms: int,
) -> None:
    error = EdgeconvError(
        reason, message, fix=fix, violations=[FieldViolation(*each) for each in violations],
        retry_s=retry_ms / 1000, node=node,
    )  # fmt: skip
    back = from_status(status_pb2.Status.FromString(to_status(error).SerializeToString()))
    assert back.to_json() == error.to_json()
    assert back.retry_s == error.retry_s


def test_a_status_has_what_others_read_too() -> None:
    error = EdgeconvError(
        Reason.OPERATOR_UNSUPPORTED, "Node 'a' is an If.", fix="Fold it.",
        violations=[FieldViolation("model", "If")], node="a",
    )  # fmt: skip
    status = to_status(error)
    assert (status.code, status.message) == (3, "Node 'a' is an If.")
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(request)
    assert (info.reason, info.domain) == ("OPERATOR_UNSUPPORTED", "edgeconv")
    assert dict(info.metadata) == {"node": "a", "fix": "Fold it."}
    assert request.field_violations[0].field == "model"


@pytest.mark.parametrize("reason", ["NO_SUCH_REASON", ""])
def test_what_another_sent_becomes_internal_with_its_message(reason: str) -> None:
    status = status_pb2.Status(code=13, message="oh")
    info = error_details_pb2.ErrorInfo(reason=reason, domain="other")
    status.details.add().Pack(info)
    error = from_status(status)
    assert (error.reason, error.message) == (Reason.INTERNAL, "oh")


def test_a_failure_shows_reason_message_and_fix() -> None:
    error = EdgeconvError(Reason.DATA_NEEDED, "No data.", fix="Give some.")
    failure = to_failure(to_status(error))
    assert failure.model_dump() == {
        "reason": "DATA_NEEDED", "message": "No data.", "fix": "Give some.",
    }  # fmt: skip
