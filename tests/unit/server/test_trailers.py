"""Errors that quote what was sent, within what a client takes as headers."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.results.status import to_status
from edgeconv.server.rpc.trailers import ROOM_BYTES, fitted


def size(error: EdgeconvError) -> int:
    return len(quote(error.message)) + len(base64.b64encode(to_status(error).SerializeToString()))


def refusal(text: str, violations: int) -> EdgeconvError:
    listed = [FieldViolation(f"variants.{n}.{text}", text) for n in range(violations)]
    return EdgeconvError(
        Reason.RECIPE_INVALID, f"{text} is not valid.", fix=text, violations=listed, name=text
    )


@pytest.mark.parametrize("text", ["a" * 20_000, "漢" * 20_000, "%" * 3000, "\U0001f600" * 9000])
@pytest.mark.parametrize("violations", [0, 1, 64])
def test_whatever_an_error_quotes_it_fits(text: str, violations: int) -> None:
    shorter = fitted(refusal(text, violations))
    assert size(shorter) <= ROOM_BYTES
    assert shorter.reason is Reason.RECIPE_INVALID
    assert shorter.message.startswith(text[:50])
    assert shorter.message.endswith("…")
    assert shorter.fix.endswith("…")
    assert shorter.metadata["name"].endswith("…")


def test_how_many_violations_were_left_out_is_said() -> None:
    shorter = fitted(refusal("short", 1000))
    *kept, last = shorter.violations
    assert [each.field for each in kept] == [f"variants.{n}.short" for n in range(len(kept))]
    assert last == FieldViolation("…", f"{1000 - len(kept)} more")
    assert shorter.message == "short is not valid."


@given(st.text(max_size=80), st.integers(0, 3))
def test_an_error_of_usual_size_travels_as_it_is(text: str, violations: int) -> None:
    usual = refusal(text.encode(errors="replace").decode(), violations)
    if size(usual) <= ROOM_BYTES:
        assert fitted(usual).to_json() == usual.to_json()
    else:
        assert len(text) > 40
