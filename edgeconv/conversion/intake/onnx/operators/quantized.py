"""Quantization and its inverse, as arithmetic of floats and integers."""

from __future__ import annotations

import numpy as np
import torch

from edgeconv.conversion.intake.onnx.call import Call, Results, Value, normal_axis, operator


@operator("DequantizeLinear", 10, 13, 19, 21, 23, 24, 25, 28)
def dequantize(call: Call, x: Value, scale: Value, zero_point: Value = None) -> Results:
    """(x - zero point) · scale, per tensor or per channel."""
    _whole_blocks(call)
    value = call.tensor(x)
    factors = _along(call, scale, value.ndim)
    numbers = value.to(torch.float32)
    if zero_point is not None:
        numbers = numbers - _as_float(call, zero_point, value.ndim)
    return (numbers * factors.to(torch.float32)).to(factors.dtype)


@operator("QuantizeLinear", 10, 13, 19, 21, 23, 24, 25, 28)
def quantize(call: Call, x: Value, scale: Value, zero_point: Value = None) -> Results:
    """Rounded half to even, clamped to the range of the zero point's type."""
    _whole_blocks(call)
    call.ignore("saturate", "precision")
    value = call.tensor(x)
    dtype = torch.uint8 if zero_point is None else call.tensor(zero_point).dtype
    wanted = int(call.attr("output_dtype", 0) or 0)
    if zero_point is None and wanted not in (0, 2):
        raise call.refused("its output type is given without a zero point")
    if dtype not in (torch.uint8, torch.int8, torch.int16):
        raise call.refused(f"it quantizes to {dtype}")
    made = torch.round(value.to(torch.float32) / _along(call, scale, value.ndim).to(torch.float32))
    if zero_point is not None:
        made = made + _as_float(call, zero_point, value.ndim)
    info = torch.iinfo(dtype)
    return torch.clamp(made, info.min, info.max).to(dtype)


def _whole_blocks(call: Call) -> None:
    call.ignore("output_dtype")
    if call.attr("block_size", 0):
        raise call.refused("it quantizes in blocks")


def _as_float(call: Call, zero_point: Value, rank: int) -> torch.Tensor:
    if isinstance(zero_point, np.ndarray):
        return _along(call, zero_point.astype(np.float32), rank)
    return _along(call, zero_point, rank).to(torch.float32)


def _along(call: Call, vector: Value, rank: int) -> torch.Tensor:
    """A scale or zero point, shaped to broadcast along the node's axis."""
    value = call.tensor(vector)
    axis = normal_axis(int(call.attr("axis", 1)), rank)
    if value.ndim == 0 or value.numel() == 1:
        return value.reshape(())
    return value.reshape([-1 if place == axis else 1 for place in range(rank)])
