"""What a child may say: nothing that can't be kept and sent on."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.sandbox.channel import parse_message

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), TEXTS,
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans())
def test_what_can_be_sent_on_is_read_as_it_was_written(
    message: dict[str, Any], ascii_only: bool
) -> None:
    assert parse_message(json.dumps(message, ensure_ascii=ascii_only).encode()) == message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (str(2**63), "64 bits"),
        (str(-(2**63) - 1), "64 bits"),
        ("9" * 5000, "64 bits"),
        ("1e999", "beyond all others"),
        ("-1e999", "beyond all others"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        (r'"\ud800"', "half a character"),
        (r'"a\udfffb"', "half a character"),
        ("[" * 100_000, "nested"),
        ("", "no JSON"),
        ("{", "no JSON"),
    ],
)
@pytest.mark.parametrize("place", ['{{"x": {}}}', '{{"x": [1, {{"y": {}}}]}}'])
def test_what_no_message_could_hold_is_nonsense(place: str, value: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_message(place.format(value).encode())


def test_a_name_is_a_text_too() -> None:
    with pytest.raises(ValueError, match="half a character"):
        parse_message(rb'{"\ud800": 1}')


@pytest.mark.parametrize("line", [b"[]", b"1", b'"x"', b"null", b"[{}]"])
def test_a_message_is_an_object(line: bytes) -> None:
    with pytest.raises(ValueError, match="no object"):
        parse_message(line)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_nonsense(line: bytes) -> None:
    try:
        message = parse_message(line)
    except ValueError:
        return
    assert isinstance(message, dict)


def test_the_limits_themselves_are_within() -> None:
    found = parse_message(f'{{"a": {2**63 - 1}, "b": {-(2**63)}, "c": 1e308}}'.encode())
    assert found == {"a": 2**63 - 1, "b": -(2**63), "c": 1e308}
    assert not any(math.isinf(each) for each in found.values())
    assert parse_message(rb'{"pair": "\ud83d\ude00"}') == {"pair": "\U0001f600"}
