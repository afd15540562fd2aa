"""Statuses that no server of ours sent: read as far as they can be, never an exception."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import Reason
from edgeconv.results.status import DOMAIN, from_status, to_failure, to_status

URLS = st.one_of(
    st.text(max_size=20),
    st.sampled_from([f"type.googleapis.com/google.rpc.{k}" for k in ("ErrorInfo", "BadRequest")]),
)
DETAILS = st.builds(any_pb2.Any, type_url=URLS, value=st.binary(max_size=20))


@given(st.integers(-(2**31), 2**31 - 1), st.text(), st.lists(DETAILS, max_size=3))
def test_any_status_is_an_error(code: int, message: str, details: list[any_pb2.Any]) -> None:
    status = status_pb2.Status(code=code, message=message, details=details)
    error = from_status(status)
    assert error.message == message
    assert error.reason in Reason
    assert to_failure(status).message == message
    assert from_status(to_status(error)).to_json() == error.to_json()


@pytest.mark.parametrize("kind", ["ErrorInfo", "BadRequest"])
def test_a_detail_that_lies_about_its_type_is_left_out(kind: str) -> None:
    lie = any_pb2.Any(type_url=f"type.googleapis.com/google.rpc.{kind}", value=b"\xff\xff")
    status = status_pb2.Status(code=5, message="gone", details=[lie])
    true = status.details.add()
    true.Pack(error_details_pb2.ErrorInfo(reason="NOT_FOUND", domain=DOMAIN))
    assert from_status(status).reason is Reason.NOT_FOUND


@pytest.mark.parametrize(
    ("reason", "domain"), [("NOT_FOUND", "other"), ("NOT_FOUND", ""), ("LATER", DOMAIN)]
)
def test_a_reason_of_another_catalogue_is_none_of_ours(reason: str, domain: str) -> None:
    status = status_pb2.Status(code=5, message="gone")
    info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata={"a": "b"})
    status.details.add().Pack(info)
    error = from_status(status)
    assert (error.reason, error.metadata) == (Reason.INTERNAL, {"a": "b"})
