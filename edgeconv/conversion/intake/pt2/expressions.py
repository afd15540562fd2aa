"""The grammar of symbolic sizes in a saved program.

torch hands these strings to sympy, which takes out line breaks and evaluates the rest as Python.
What is no plain arithmetic over symbols and numbers is refused before, and what is given to
torch is written anew from what was checked.
"""

from __future__ import annotations

import ast
import re

_SYMBOL = re.compile(r"[suz][0-9]{1,9}\Z")
_FUNCTIONS = frozenset({
    "Abs", "Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "Equality", "Float",
    "FloatTrueDiv", "FloorDiv", "FloorToInt", "Ge", "GreaterThan", "Gt", "Identity", "IntTrueDiv",
    "Integer", "IsNonOverlappingAndDenseIndicator", "Le", "LessThan", "Lt", "Max", "Min", "Mod",
    "ModularIndexing", "Mul", "Ne", "Not", "Or", "Piecewise", "Pow", "PowByNatural", "PythonMod",
    "Rational", "RoundDecimal", "RoundToInt", "StrictGreaterThan", "StrictLessThan", "Symbol",
    "ToFloat", "TruncToInt", "Unequality", "Where",
})  # fmt: skip
_ASSUMPTIONS = frozenset(
    {"integer", "positive", "nonnegative", "real", "zero", "nonzero", "negative", "evaluate"}
)
_OPERATORS = (
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.USub, ast.UAdd,
    ast.Not, ast.And, ast.Or, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.BitAnd,
    ast.BitOr, ast.Invert,
)  # fmt: skip
_LONGEST = 2000
_LARGEST_NUMBER = 2**63
_LARGEST_POWER = 8


def is_safe_expression(text: str) -> bool:
    """Whether a symbolic size is only arithmetic over symbols such as s17 and numbers."""
    return expression_written_anew(text) is not None


def expression_written_anew(text: str) -> str | None:
    """The same arithmetic in text of our own; None for what is more than arithmetic."""
    if len(text) > _LONGEST:
        return None
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return ast.unparse(tree.body) if _safe(tree.body) else None


def symbol_name(text: str) -> str | None:
    """The name, when an expression is one symbol and nothing else."""
    found = re.match(r"(?:Symbol\('([suz][0-9]+)'[^()]*\)|([suz][0-9]+))\Z", text)
    return found and (found[1] or found[2])


def _safe(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=bool()):
            return True
        case ast.Constant(value=int() | float() as number):
            return abs(number) <= _LARGEST_NUMBER
        case ast.Name(id=name):
            return bool(_SYMBOL.match(name)) or name in ("oo", "int_oo")
        case ast.UnaryOp(op=op, operand=operand):
            return isinstance(op, _OPERATORS) and _safe(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _safe(left) and _small(right)
        case ast.BinOp(left=left, op=op, right=right):
            return isinstance(op, _OPERATORS) and _safe(left) and _safe(right)
        case ast.BoolOp(values=values):
            return all(_safe(each) for each in values)
        case ast.Compare(left=left, ops=ops, comparators=others):
            known = all(isinstance(op, _OPERATORS) for op in ops)
            return known and all(_safe(each) for each in (left, *others))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=keywords):
            return _safe_call(name, arguments, keywords)
    return False


def _safe_call(name: str, arguments: list[ast.expr], keywords: list[ast.keyword]) -> bool:
    if name not in _FUNCTIONS:
        return False
    for keyword in keywords:
        plain = isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool)
        if keyword.arg not in _ASSUMPTIONS or not plain:
            return False
    if name == "Symbol":
        return len(arguments) == 1 and _is_symbol_text(arguments[0])
    if name in ("Pow", "PowByNatural"):
        return len(arguments) == 2 and _safe(arguments[0]) and _small(arguments[1])
    if name in ("Integer", "Float", "Rational"):
        return all(_safe(each) for each in arguments)
    return all(_safe(each) for each in arguments)


def _is_symbol_text(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and bool(_SYMBOL.match(node.value))
    )


def _small(node: ast.expr) -> bool:
    """An exponent that can't be used to fill the memory."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Integer":
        return len(node.args) == 1 and not node.keywords and _small(node.args[0])
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int)
        and 0 <= node.value <= _LARGEST_POWER
    )
