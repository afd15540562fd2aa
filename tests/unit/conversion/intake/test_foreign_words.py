"""The words of a library's exception in a refusal: its first line, and no place in its code."""

from __future__ import annotations

import pytest

from edgeconv.conversion.intake.foreign_words import first_words


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("cannot reshape\nat line 7"), "cannot reshape"),
        (RuntimeError("[enforce fail at inline_container.cc:215] . Couldn't parse x"),
         "Couldn't parse x"),
        (RuntimeError("/__w/build/Register.cpp:5710: sizes expected"), "sizes expected"),
        (RuntimeError("/p/inliner.cc:418: GetType: Assertion `false` failed: Type unknown for m"),
         "Type unknown for m"),
        (KeyError("x"), "KeyError 'x'"),
        (AssertionError(), "AssertionError"),
        (ValueError("axis 3.5: 2 is not in a.head: 12"), "axis 3.5: 2 is not in a.head: 12"),
        (ValueError("so " * 100), ("so " * 100)[:200]),
    ],
)  # fmt: skip
def test_what_is_said_of_an_exception(error: Exception, said: str) -> None:
    assert first_words(error) == said
