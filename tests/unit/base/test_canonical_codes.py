"""The catalogue against the canonical codes of gRPC, and names against their patterns."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.digests import canonical_json
from edgeconv.base.errors import EdgeconvError, Reason, Status
from edgeconv.base.ids import new_id, parse_name

PATTERNS = ["models/*", "models/*/versions/*", "datasets/*", "conversions/*/variants/*"]


@pytest.mark.parametrize("status", list(Status), ids=lambda status: status.name)
def test_a_code_is_that_of_its_name(status: Status) -> None:
    assert status.code == grpc.StatusCode[status.name].value[0]


def test_an_error_shows_its_message_wherever_python_shows_it() -> None:
    error = EdgeconvError(Reason.NOT_FOUND, "There is no 'x'.")
    assert error.args == ("There is no 'x'.",)
    assert repr(error) == """EdgeconvError("There is no 'x'.")"""


@given(st.sampled_from(PATTERNS), st.sampled_from(PATTERNS))
def test_a_name_fits_its_own_pattern_only(pattern: str, other: str) -> None:
    name = pattern.replace("*", "a")
    if pattern == other:
        assert parse_name(name, other) == ("a",) * pattern.count("*")
        return
    with pytest.raises(EdgeconvError) as refused:
        parse_name(name, other, field="parent")
    assert refused.value.reason is Reason.FIELD_INVALID
    assert refused.value.violations[0].field == "parent"


@pytest.mark.parametrize("name", ["models/", "models/A", "models/a/", "/a", "models/-a", "models"])
def test_what_is_no_segment_is_no_name(name: str) -> None:
    with pytest.raises(EdgeconvError):
        parse_name(name, "models/*")


def test_a_segment_has_63_characters_at_most() -> None:
    assert parse_name(f"models/{'a' * 63}", "models/*") == ("a" * 63,)
    with pytest.raises(EdgeconvError):
        parse_name(f"models/{'a' * 64}", "models/*")


def test_ids_are_names_of_80_random_bits() -> None:
    ids = {new_id() for _ in range(200)}
    assert len(ids) == 200
    assert {len(each) for each in ids} == {16}
    assert len(set("".join(ids))) == 32
    for each in ids:
        parse_name(f"models/{each}", "models/*")


def test_json_that_others_could_not_read_has_no_digest() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": float("nan")})
    assert canonical_json({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'
