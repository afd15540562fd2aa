"""Comparisons, logic and selection."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edgeconv.conversion.intake.onnx.call import Call, Handler, Results, Value, operator

_COMPARISONS: dict[str, tuple[Callable[..., torch.Tensor], tuple[int, ...]]] = {
    "Equal": (torch.eq, (7, 11, 13, 19)),
    "Greater": (torch.gt, (7, 9, 13)),
    "GreaterOrEqual": (torch.ge, (12, 16)),
    "Less": (torch.lt, (7, 9, 13)),
    "LessOrEqual": (torch.le, (12, 16)),
}
_LOGIC: dict[str, Callable[..., torch.Tensor]] = {
    "And": torch.logical_and,
    "Or": torch.logical_or,
    # Converters refuse exclusive or of bools; not equal is the same.
    "Xor": torch.ne,
}
_MIRRORED: dict[Callable[..., torch.Tensor], Callable[..., torch.Tensor]] = {
    torch.gt: torch.lt,
    torch.lt: torch.gt,
    torch.ge: torch.le,
    torch.le: torch.ge,
}


def _comparison(function: Callable[..., torch.Tensor]) -> Handler:
    def handler(call: Call, a: Value, b: Value) -> torch.Tensor:
        left, right = call.operand(a, b), call.operand(b, a)
        if isinstance(left, torch.Tensor):
            return function(left, right)
        return _MIRRORED.get(function, function)(right, left)

    return handler


def _logic(function: Callable[..., torch.Tensor]) -> Handler:
    def handler(call: Call, a: Value, b: Value) -> torch.Tensor:
        return function(call.tensor(a), call.tensor(b))

    return handler


for _name, (_function, _versions) in _COMPARISONS.items():
    operator(_name, *_versions)(_comparison(_function))
for _name, _function in _LOGIC.items():
    operator(_name, 7)(_logic(_function))


@operator("Where", 9, 16)
def where(call: Call, condition: Value, x: Value, y: Value) -> Results:
    return torch.where(call.tensor(condition), call.tensor(x), call.tensor(y))
