"""The grammar of symbolic sizes: arithmetic passes, code does not."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.conversion.intake.pt2.expressions import (
    expression_written_anew,
    is_safe_expression,
    symbol_name,
)


@pytest.mark.parametrize(
    "text",
    [
        "s17",
        "Symbol('s17', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s0', integer=True))",
        "2*s0 + 1",
        "FloorDiv(s0, 2) - 3",
        "Max(1, Mod(s0, 4))",
        "Pow(Symbol('s1', integer=True), Integer(2))",
        "s0**2",
        "Eq(s0, 3)",
        "And(Ne(s0, 1), s1 >= 2)",
    ],
)
def test_arithmetic_passes(text: str) -> None:
    assert is_safe_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__",
        "open('/etc/passwd')",
        "s0.__class__",
        "[s0 for s0 in (1,)]",
        "lambda: 1",
        "Symbol('x')",
        "Symbol('s0', positive=print(1))",
        "Symbol(s0)",
        "Symbol('s0', cls=True)",
        "'text'",
        "f'{s0}'",
        "s0 if s0 else s1",
        "Pow(10, 100000000)",
        "10**100000000",
        "s0 << 1000000",
        f"{2**70}",
        "Integer('9' * 10)",
        "(s0 := 1)",
        "Max(*s0)",
        "Max(**s0)",
        "a" * 3000,
        "(" * 1500,
        "",
        "s0; s1",
        "sympify('1')",
        "evalf",
    ],
)
def test_everything_else_does_not(text: str) -> None:
    assert not is_safe_expression(text)


_SAFE_NAMES = {"oo", "s1", "Max", "Symbol", "Integer", "Pow"}


@given(st.text(alphabet="s1()'._,=+*[]:- Maxopen\n", max_size=40))
def test_what_passes_holds_no_attribute_text_or_foreign_name(text: str) -> None:
    if not is_safe_expression(text):
        return
    for part in ast.walk(ast.parse(text, mode="eval")):
        assert not isinstance(part, ast.Attribute | ast.Subscript | ast.Lambda | ast.JoinedStr)
        if isinstance(part, ast.Name):
            assert part.id in _SAFE_NAMES or part.id[:1] in "suz"


def test_a_single_symbol_has_a_name_and_a_sum_has_none() -> None:
    assert symbol_name("Symbol('s17', positive=True, integer=True)") == "s17"
    assert symbol_name("s3") == "s3"
    assert symbol_name("s3 + 1") is None


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Symbol('s17', positive=True, integer=True)", None),
        ("Mul(Integer(2), Symbol('s0', integer=True))", None),
        # Where sympy takes the line break out, this is a name of the author's.
        ("(not\ns1)", "not s1"),
        ("Symbol('s1\\\n7')", "Symbol('s17')"),
        ("s1 # open('/etc/passwd')", "s1"),
        ("\uff531", "s1"),
    ],
)
def test_what_torch_is_given_is_text_of_our_own(text: str, written: str | None) -> None:
    assert expression_written_anew(text) == (written or text)
