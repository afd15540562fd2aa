"""Arithmetic of two or more tensors, element by element, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
import torch

from edgeconv.conversion.intake.onnx.call import Call, Results, Value, operator


def _pair(call: Call, a: Value, b: Value) -> tuple[torch.Tensor, torch.Tensor]:
    """Both operands; a one-element constant may come as a number, which types can't say."""
    return call.operand(a, b), call.operand(b, a)  # type: ignore[return-value]


@operator("Add", 7, 13, 14)
def add(call: Call, a: Value, b: Value) -> Results:
    left, right = _pair(call, a, b)
    return left + right


@operator("Sub", 7, 13, 14)
def sub(call: Call, a: Value, b: Value) -> Results:
    left, right = _pair(call, a, b)
    return left - right


@operator("Mul", 7, 13, 14)
def mul(call: Call, a: Value, b: Value) -> Results:
    left, right = _pair(call, a, b)
    return left * right


@operator("Div", 7, 13, 14)
def div(call: Call, a: Value, b: Value) -> Results:
    """Integers are divided towards zero."""
    floating = _is_floating(a)
    left, right = _pair(call, a, b)
    if floating:
        return left / right
    return torch.div(call.tensor(a), right, rounding_mode="trunc")


def _is_floating(value: Value) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind == "f"
    return isinstance(value, torch.Tensor) and value.is_floating_point()


@operator("Mod", 10, 13, 28)
def mod(call: Call, a: Value, b: Value) -> Results:
    """The sign is the divisor's, or with fmod the dividend's."""
    function = torch.fmod if call.attr("fmod") else torch.remainder
    return function(call.tensor(a), call.operand(b, a))


@operator("Pow", 7, 12, 13, 15)
def power(call: Call, a: Value, b: Value) -> Results:
    """The result has the element type of the base."""
    if isinstance(b, np.ndarray) and b.size == 1 and isinstance(a, torch.Tensor):
        exponent = b.reshape(()).item()
        if b.ndim <= a.ndim and (a.is_floating_point() or float(exponent).is_integer()):
            return _power_of_number(a, exponent)
    base = call.tensor(a)
    return torch.pow(base, call.tensor(b)).to(base.dtype)


def _power_of_number(base: torch.Tensor, exponent: float) -> torch.Tensor:
    if exponent == 2:
        return base * base
    if exponent == 0.5:
        return torch.sqrt(base)
    made = torch.pow(base, int(exponent) if float(exponent).is_integer() else exponent)
    return made.to(base.dtype)


def _folded(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Callable[..., torch.Tensor]:
    def handler(call: Call, *values: Value) -> torch.Tensor:
        return reduce(function, [call.tensor(value) for value in values])

    return handler


operator("Max", 6, 8, 12, 13)(_folded(torch.maximum))
operator("Min", 6, 8, 12, 13)(_folded(torch.minimum))
operator("Sum", 6, 8, 13)(_folded(torch.add))


@operator("Mean", 6, 8, 13)
def mean(call: Call, *values: Value) -> Results:
    total = reduce(torch.add, [call.tensor(value) for value in values])
    return total / len(values)


@operator("BitShift", 11, 28)
def bit_shift(call: Call, a: Value, b: Value) -> Results:
    """By a constant, as a multiplication or division: converters know no shifts."""
    factor = 2 ** call.constant(b, "shift").astype(np.int64)
    value = call.tensor(a)
    factors = call.tensor(factor.astype(call.constant(b, "shift").dtype))
    if call.attr("direction") == "LEFT":
        return value * factors
    return torch.div(value, factors, rounding_mode="floor")
