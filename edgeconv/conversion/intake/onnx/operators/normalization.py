"""Normalizations, in inference mode."""

from __future__ import annotations

import torch
from torch.nn import functional

from edgeconv.conversion.intake.onnx.call import Call, Results, Value, normal_axis, operator


@operator("BatchNormalization", 7, 9, 14, 15)
def batch_normalization(
    call: Call, x: Value, scale: Value, bias: Value, mean: Value, variance: Value
) -> Results:
    call.ignore("momentum")
    if call.attr("training_mode", 0):
        raise call.refused("it is in training mode")
    if call.attr("spatial", 1) != 1:
        raise call.refused("it normalizes every element apart (spatial=0)")
    return functional.batch_norm(
        call.tensor(x), call.tensor(mean), call.tensor(variance), call.tensor(scale),
        call.tensor(bias), training=False, eps=call.attr("epsilon"),
    )  # fmt: skip


@operator("InstanceNormalization", 6, 22)
def instance_normalization(call: Call, x: Value, scale: Value, bias: Value) -> Results:
    value = call.tensor(x)
    axes = list(range(2, value.ndim))
    normal = _standardized(value, axes, call.attr("epsilon"))
    shape = (1, -1, *(1,) * len(axes))
    return normal * call.tensor(scale).reshape(shape) + call.tensor(bias).reshape(shape)


@operator("GroupNormalization", 18, 21)
def group_normalization(call: Call, x: Value, scale: Value, bias: Value) -> Results:
    """Scale and bias are per group in version 18, per channel from 21 on."""
    call.ignore("stash_type")
    value = call.tensor(x)
    groups, channels = int(call.attr("num_groups")), value.shape[1]
    apart = value.reshape(value.shape[0], groups, channels // groups, *value.shape[2:])
    normal = _standardized(apart, list(range(2, apart.ndim)), call.attr("epsilon"))
    factors, offsets = call.tensor(scale), call.tensor(bias)
    if call.version == 18:
        shape = (1, -1, *(1,) * (apart.ndim - 2))
        made = normal * factors.reshape(shape) + offsets.reshape(shape)
        return made.reshape(value.shape)
    shape = (1, -1, *(1,) * (value.ndim - 2))
    return normal.reshape(value.shape) * factors.reshape(shape) + offsets.reshape(shape)


@operator("LayerNormalization", 17)
def layer_normalization(call: Call, x: Value, scale: Value, bias: Value = None) -> Results:
    """Scale and bias are omitted where an exporter wrote it in parts without them."""
    value = call.tensor(x)
    call.ignore("stash_type")
    axis = normal_axis(int(call.attr("axis")), value.ndim)
    shape, epsilon = list(value.shape[axis:]), call.attr("epsilon")
    plain = all(each is None or list(each.shape) == shape for each in (scale, bias))
    if plain and not call.wants(1) and not call.wants(2):
        factors, offsets = (None if each is None else call.tensor(each) for each in (scale, bias))
        return functional.layer_norm(value, shape, factors, offsets, epsilon)
    axes = list(range(axis, value.ndim))
    mean = torch.mean(value, axes, keepdim=True)
    centred = value - mean
    inverse = torch.rsqrt(torch.mean(centred * centred, axes, keepdim=True) + epsilon)
    made = centred * inverse * call.tensor(scale)
    return (made if bias is None else made + call.tensor(bias)), mean, inverse


@operator("RMSNormalization", 23)
def rms_normalization(call: Call, x: Value, scale: Value) -> Results:
    value = call.tensor(x)
    call.ignore("stash_type")
    axis = normal_axis(int(call.attr("axis")), value.ndim)
    axes = list(range(axis, value.ndim))
    square = torch.mean(value * value, axes, keepdim=True)
    return value * torch.rsqrt(square + call.attr("epsilon")) * call.tensor(scale)


@operator("LRN", 1, 13)
def local_response_normalization(call: Call, x: Value) -> Results:
    """x / (bias + alpha/size · Σ of squares over `size` neighbouring channels)^beta."""
    value = call.tensor(x)
    size = int(call.attr("size"))
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    channels = value.shape[1]
    squares = value * value
    padded = functional.pad(squares, [0, 0] * (value.ndim - 2) + [before, after])
    total = padded.narrow(1, 0, channels)
    for shift in range(1, size):
        total = total + padded.narrow(1, shift, channels)
    base = call.attr("bias") + call.attr("alpha") / size * total
    return value / torch.pow(base, call.attr("beta"))


@operator("MeanVarianceNormalization", 9, 13)
def mean_variance_normalization(call: Call, x: Value) -> Results:
    """The standard's own function adds 1e-9 to the deviation."""
    value = call.tensor(x)
    axes = [normal_axis(int(axis), value.ndim) for axis in call.attr("axes")]
    mean = torch.mean(value, axes, keepdim=True)
    variance = torch.mean(value * value, axes, keepdim=True) - mean * mean
    return (value - mean) / (torch.sqrt(variance) + 1e-9)


@operator("LpNormalization", 1, 22)
def lp_normalization(call: Call, x: Value) -> Results:
    value = call.tensor(x)
    axis, order = int(call.attr("axis")), int(call.attr("p"))
    if order == 1:
        norm = torch.sum(torch.abs(value), axis, keepdim=True)
    else:
        norm = torch.sqrt(torch.sum(value * value, axis, keepdim=True))
    # A vector of zeros stays one.
    return value / torch.where(norm == 0, torch.ones_like(norm), norm)


def _standardized(value: torch.Tensor, axes: list[int], epsilon: float) -> torch.Tensor:
    mean = torch.mean(value, axes, keepdim=True)
    centred = value - mean
    return centred * torch.rsqrt(torch.mean(centred * centred, axes, keepdim=True) + epsilon)
