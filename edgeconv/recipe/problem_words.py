"""What is wrong with a value of a recipe, in the words of recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = {
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
}
_LIMITS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def problem_words(problem: Mapping[str, Any]) -> str:
    """A clause for one of pydantic's `ValidationError.errors()`."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "missing":
        return "it is needed"
    if kind == "too_short":
        return f"it needs at least {context['min_length']} and has {context['actual_length']}"
    if kind == "too_long":
        return f"it may have at most {context['max_length']}"
    if kind == "literal_error":
        return f"it must be {context['expected']}{_given(problem)}"
    if kind == "string_pattern_mismatch":
        return (
            "a name has lower-case letters, digits, - and _, begins with a letter or digit and"
            " has at most 40 characters"
        )
    if kind in _LIMITS:
        word, key = _LIMITS[kind]
        return f"it must be {word} {context[key]:g}{_given(problem)}"
    if kind in _KINDS:
        return f"it must be {_KINDS[kind]}{_given(problem)}"
    return str(problem["msg"]).removeprefix("Value error, ")


def _given(problem: Mapping[str, Any]) -> str:
    """What stands there, where it is short enough to be shown."""
    value = problem.get("input")
    if not isinstance(value, str | int | float):
        return ", not empty" if value is None else ""
    shown = repr(value)
    return f", not {shown}" if len(shown) <= 40 else ""
