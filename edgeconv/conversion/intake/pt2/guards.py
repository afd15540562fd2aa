"""The grammar of guards in a saved program: comparisons of sizes and values of its inputs.

torch compiles these strings into a function that it calls before the program. They are never
given to it here; one that is more than a comparison says that the file is not what it seems.
"""

from __future__ import annotations

import ast

_LONGEST = 2000
_NAMES = frozenset({
    "L", "abs", "bool", "float", "inf", "int", "len", "math", "max", "min", "round", "torch",
    "IsNonOverlappingAndDenseIndicator", "cast_symbool_to_symint_guardless",
})  # fmt: skip
_ATTRIBUTES = frozenset({
    "ceil", "dim", "e", "floor", "inf", "isinf", "isnan", "item", "log2", "ndim", "numel", "pi",
    "pow", "shape", "size", "sqrt", "storage_offset", "stride", "sym_float", "sym_int", "sym_ite",
    "sym_max", "sym_min", "sym_not", "trunc",
})  # fmt: skip
_PARTS = (
    ast.BinOp, ast.BoolOp, ast.Compare, ast.Constant, ast.IfExp, ast.List, ast.Subscript,
    ast.Tuple, ast.UnaryOp, ast.operator, ast.boolop, ast.cmpop, ast.unaryop, ast.expr_context,
)  # fmt: skip


def is_safe_guard(text: str) -> bool:
    """Whether a guard such as "L['x'].size()[0] <= 8" only compares."""
    if len(text) > _LONGEST:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return all(_is_safe(node) for node in ast.walk(tree.body))


def _is_safe(node: ast.AST) -> bool:
    match node:
        case ast.Name(id=name):
            return name in _NAMES
        case ast.Attribute(attr=name):
            return name in _ATTRIBUTES
        case ast.Call(keywords=keywords):
            return not keywords
    return isinstance(node, _PARTS)
