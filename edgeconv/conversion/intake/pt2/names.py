"""The names in a saved program, which torch writes into Python source.

A graph becomes a function whose text is made of the names of its tensors, nodes, arguments and
parts, and compiled (`torch.fx.graph.CodeGen`); torch reads them from the file as they are. So
they must be what its exporter makes: identifiers, and places of parameters that can't leave the
quotes in which they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from edgeconv.conversion.intake.pt2.refusals import unsafe

_IDENTIFIERS = frozenset({"name", "as_name", "forward_arg_names"})
_TABLES_BY_IDENTIFIER = frozenset({
    "tensor_values", "sym_int_values", "sym_float_values", "sym_bool_values",
    "as_string_to_argument", "range_constraints",
})  # fmt: skip
# They have grammars of their own, or are only ever shown as quoted values.
_TEXTS = frozenset({
    "as_operator", "as_string", "as_strings", "expr_str", "in_spec", "out_spec", "target",
    "torch_version",
})  # fmt: skip
_VALUES = frozenset({"metadata"})
_UNQUOTABLE = re.compile(r"[\"'\\\x00-\x1f\x7f\x85\u2028\u2029]|(?:\A|\.)__\w*__(?:\.|\Z)")


def check_names(value: Any, member: str) -> None:
    """Refuses names that would be more than a name in a program's text.

    Raises:
        EdgeconvError: MODEL_UNSAFE, with the name.
    """
    pending: list[tuple[str, Any]] = [("", value)]
    while pending:
        key, each = pending.pop()
        if isinstance(each, str):
            _check(key, each, member)
        elif isinstance(each, list):
            pending.extend((key, inner) for inner in each)
        elif isinstance(each, dict):
            pending.extend(_inside(key, each, member))


def _inside(key: str, table: dict[str, Any], member: str) -> Iterator[tuple[str, Any]]:
    if key in _TABLES_BY_IDENTIFIER:
        for name, inner in table.items():
            _check("name", name, member)
            # What is called by a tensor's name is no field.
            yield "", inner
        return
    for name, inner in table.items():
        _check("", name, member)
        if name not in _VALUES and not (name in _TEXTS and isinstance(inner, str | list)):
            yield name, inner


def _check(key: str, text: str, member: str) -> None:
    if key in _IDENTIFIERS:
        if text and not text.isidentifier():
            raise unsafe(member, text, "as a name it is no identifier")
    elif _UNQUOTABLE.search(text):
        raise unsafe(member, text, "as a name it could leave the quotes that torch puts around it")
