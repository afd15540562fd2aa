"""Activation functions."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from edgeconv.conversion.intake.onnx.call import Call, Results, Value, normal_axis, operator


@operator("Relu", 6, 13, 14)
def relu(call: Call, x: Value) -> Results:
    return torch.relu(call.tensor(x))


@operator("LeakyRelu", 6, 16)
def leaky_relu(call: Call, x: Value) -> Results:
    return functional.leaky_relu(call.tensor(x), call.attr("alpha"))


@operator("PRelu", 7, 9, 16)
def prelu(call: Call, x: Value, slope: Value) -> Results:
    """The slope broadcasts towards x, which torch's own prelu does not do."""
    value = call.tensor(x)
    scaled = value * call.operand(slope, value)
    if scaled.shape != value.shape:
        raise call.refused("its slope is larger than its input")
    return torch.where(value < 0, scaled, value)


@operator("Elu", 6, 22)
def elu(call: Call, x: Value) -> Results:
    return functional.elu(call.tensor(x), call.attr("alpha"))


@operator("Celu", 12, 28)
def celu(call: Call, x: Value) -> Results:
    return functional.celu(call.tensor(x), call.attr("alpha"))


@operator("Selu", 6, 22)
def selu(call: Call, x: Value) -> Results:
    """max(0, x) + min(0, alpha·(eˣ − 1)), scaled; alpha and gamma may be any."""
    value = call.tensor(x)
    alpha, gamma = float(call.attr("alpha")), float(call.attr("gamma"))
    return functional.elu(value, alpha) * float(gamma)


@operator("Sigmoid", 6, 13)
def sigmoid(call: Call, x: Value) -> Results:
    return torch.sigmoid(call.tensor(x))


@operator("Tanh", 6, 13)
def tanh(call: Call, x: Value) -> Results:
    return torch.tanh(call.tensor(x))


@operator("HardSigmoid", 6, 22)
def hard_sigmoid(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    alpha, beta = call.attr("alpha"), call.attr("beta")
    if np.float32(alpha) == np.float32(1 / 6) and beta == 0.5:
        return functional.hardsigmoid(value)
    return torch.clamp(value * alpha + beta, 0.0, 1.0)


@operator("HardSwish", 14, 22)
def hard_swish(call: Call, x: Value) -> Results:
    return functional.hardswish(call.tensor(x))


@operator("Swish", 24)
def swish(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    alpha = call.attr("alpha")
    return functional.silu(value) if alpha == 1.0 else value * torch.sigmoid(value * alpha)


@operator("Mish", 18, 22)
def mish(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    return value * torch.tanh(functional.softplus(value))


@operator("Softplus", 1, 22)
def softplus(call: Call, x: Value) -> Results:
    return functional.softplus(call.tensor(x))


@operator("Softsign", 1, 22)
def softsign(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    return value / (1 + torch.abs(value))


@operator("ThresholdedRelu", 10, 22)
def thresholded_relu(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    return torch.where(value > call.attr("alpha"), value, torch.zeros_like(value))


@operator("Shrink", 9)
def shrink(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    bias, bound = call.attr("bias"), call.attr("lambd")
    inner = torch.where(value > bound, value - bias, torch.zeros_like(value))
    return torch.where(value < -bound, value + bias, inner)


@operator("Gelu", 20)
def gelu(call: Call, x: Value) -> Results:
    return functional.gelu(call.tensor(x), approximate=call.attr("approximate"))


@operator("Clip", 6, 11, 12, 13)
def clip(call: Call, x: Value, low: Value = None, high: Value = None) -> Results:
    """Bounds are attributes before version 11, and may be computed from then on."""
    value = call.tensor(x)
    if call.version == 6:
        least, most = call.attr("min"), call.attr("max")
        return torch.clamp(value, _bound(least), _bound(most))
    numbers = [_bound_number(bound) for bound in (low, high)]
    if not any(isinstance(bound, torch.Tensor) for bound in (low, high)):
        return value if numbers == [None, None] else torch.clamp(value, *numbers)
    if low is not None:
        value = torch.maximum(value, call.tensor(low))
    return value if high is None else torch.minimum(value, call.tensor(high))


def _bound(given: float) -> float | None:
    return None if abs(given) >= np.finfo(np.float32).max else given


def _bound_number(bound: Value) -> float | int | None:
    if not isinstance(bound, np.ndarray):
        return None
    number: float | int = bound.reshape(()).item()
    return None if isinstance(number, float) and math.isinf(number) else number


@operator("Softmax", 1, 11, 13)
def softmax(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    axis = int(call.attr("axis"))
    if call.version >= 13:
        return torch.softmax(value, axis)
    return torch.softmax(_flattened(value, axis), -1).reshape(value.shape)


@operator("LogSoftmax", 1, 11, 13)
def log_softmax(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    axis = int(call.attr("axis"))
    if call.version >= 13:
        return torch.log_softmax(value, axis)
    return torch.log_softmax(_flattened(value, axis), -1).reshape(value.shape)


@operator("Hardmax", 1, 11, 13)
def hardmax(call: Call, x: Value) -> Results:
    """1 at the first largest element, 0 elsewhere."""
    value = call.tensor(x)
    axis = normal_axis(int(call.attr("axis")), value.ndim)
    flat = value.movedim(axis, -1) if call.version >= 13 else _flattened(value, axis)
    positions = call.tensor(np.arange(flat.shape[-1]))
    chosen = torch.argmax(flat, -1, keepdim=True) == positions
    made = chosen.to(value.dtype)
    return made.movedim(-1, axis) if call.version >= 13 else made.reshape(value.shape)


def _flattened(value: torch.Tensor, axis: int) -> torch.Tensor:
    """Two axes, as these operators meant it before version 13; one axis stays as it is."""
    place = normal_axis(axis, value.ndim)
    if place == value.ndim - 1:
        return value
    return value.reshape(math.prod(value.shape[:place]), -1)
