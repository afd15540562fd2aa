"""Mathematical functions of one tensor, casts, and what passes a tensor on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from onnx import TensorProto

from edgeconv.conversion.intake.onnx.call import Call, Handler, Results, Value, operator
from edgeconv.conversion.intake.onnx.model import element_type

_SIMPLE: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], tuple[int, ...]]] = {
    "Abs": (torch.abs, (6, 13)),
    "Acos": (torch.acos, (7, 22)),
    "Acosh": (torch.acosh, (9, 22)),
    "Asin": (torch.asin, (7, 22)),
    "Asinh": (torch.asinh, (9, 22)),
    "Atan": (torch.atan, (7, 22)),
    "Atanh": (torch.atanh, (9, 22)),
    "Ceil": (torch.ceil, (6, 13)),
    "Cos": (torch.cos, (7, 22)),
    "Cosh": (torch.cosh, (9, 22)),
    "Erf": (torch.erf, (9, 13)),
    "Exp": (torch.exp, (6, 13)),
    "Floor": (torch.floor, (6, 13)),
    "Identity": (lambda x: x, (1, 13, 14, 16, 19, 21, 23, 24, 25)),
    "IsNaN": (torch.isnan, (9, 13, 20)),
    "Log": (torch.log, (6, 13)),
    "Neg": (torch.neg, (6, 13)),
    "Not": (torch.logical_not, (1,)),
    "Reciprocal": (torch.reciprocal, (6, 13)),
    "Round": (torch.round, (11, 22)),
    "Sign": (torch.sign, (9, 13)),
    "Sin": (torch.sin, (7, 22)),
    "Sinh": (torch.sinh, (9, 22)),
    "Sqrt": (torch.sqrt, (6, 13)),
    "Tan": (torch.tan, (7, 22)),
}


def _simple(function: Callable[[torch.Tensor], torch.Tensor]) -> Handler:
    def handler(call: Call, x: Value) -> torch.Tensor:
        return function(call.tensor(x))

    return handler


for _name, (_function, _versions) in _SIMPLE.items():
    operator(_name, *_versions)(_simple(_function))


@operator("IsInf", 10, 20)
def is_inf(call: Call, x: Value) -> torch.Tensor:
    """Infinities of the signs asked for."""
    value = call.tensor(x)
    positive, negative = call.attr("detect_positive"), call.attr("detect_negative")
    if positive and negative:
        return torch.isinf(value)
    if positive:
        return value == float("inf")
    if negative:
        return value == float("-inf")
    return torch.zeros_like(value, dtype=torch.bool)


@operator("Cast", 6, 9, 13, 19, 21, 23, 24, 25, 28)
def cast(call: Call, x: Value) -> torch.Tensor:
    """To another element type; `saturate` and `round_mode` only matter below 16 bits."""
    call.ignore("saturate", "round_mode")
    return call.tensor(x).to(_torch_type(call, int(call.attr("to"))))


@operator("CastLike", 15, 19, 21, 23, 24, 25)
def cast_like(call: Call, x: Value, like: Value) -> torch.Tensor:
    """To the element type of another tensor."""
    call.ignore("saturate", "round_mode")
    if isinstance(like, torch.Tensor):
        return call.tensor(x).to(like.dtype)
    return call.tensor(x).to(getattr(torch, call.constant(like, "target").dtype.name))


def _torch_type(call: Call, code: int) -> torch.dtype:
    if code in (TensorProto.BFLOAT16, TensorProto.STRING):
        raise call.refused(f"it casts to {TensorProto.DataType.Name(code)}")
    dtype: torch.dtype = getattr(torch, element_type(code, call.node.name).value)
    return dtype


@operator("Dropout", 7, 10, 12, 13, 22)
def dropout(call: Call, x: Value, ratio: Value = None, training: Value = None) -> Results:
    """Passes its input on: edgeconv takes models in inference mode."""
    call.ignore("ratio", "seed", "is_test")
    if training is not None and call.constant(training, "training mode").item():
        raise call.refused("it is in training mode")
    value = call.tensor(x)
    if not call.wants(1):
        return value
    return value, call.tensor(np.ones(value.shape, np.bool_))
