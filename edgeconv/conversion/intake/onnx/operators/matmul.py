"""Products of matrices."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from edgeconv.conversion.intake.onnx.call import Call, Results, Value, operator


@operator("MatMul", 1, 9, 13)
def matmul(call: Call, a: Value, b: Value) -> Results:
    """A constant matrix on the right makes it a linear layer."""
    if isinstance(b, np.ndarray) and b.ndim == 2 and isinstance(a, torch.Tensor) and a.ndim >= 2:
        return functional.linear(a, call.tensor(np.ascontiguousarray(b.T)))
    return torch.matmul(call.tensor(a), call.tensor(b))


@operator("LinearBias", 1)
def linear_bias(call: Call, a: Value, b: Value, bias: Value) -> Results:
    """A product with a constant matrix and the addition after it, from fusion."""
    weights = np.ascontiguousarray(call.constant(b, "weights").T)
    return functional.linear(call.tensor(a), call.tensor(weights), call.tensor(bias))


@operator("Gemm", 7, 9, 11, 13)
def gemm(call: Call, a: Value, b: Value, c: Value = None) -> Results:
    """alpha·A·B + beta·C; a linear layer where B and C are constants that allow it."""
    alpha, beta = call.attr("alpha"), call.attr("beta")
    flip_a, flip_b = bool(call.attr("transA")), bool(call.attr("transB"))
    left = call.tensor(a)
    left = left.transpose(0, 1) if flip_a else left
    if isinstance(b, np.ndarray):
        weights = call.tensor(_linear_weights(b, alpha, flip_b))
        bias = _linear_bias(c, beta, weights.shape[0])
        if c is None or bias is not None:
            return functional.linear(left, weights, None if bias is None else call.tensor(bias))
        product = functional.linear(left, weights)
    else:
        right = call.tensor(b)
        product = torch.matmul(left, right.transpose(0, 1) if flip_b else right)
        product = product if alpha == 1 else product * alpha
    if c is None:
        return product
    added = call.operand(c, product)
    return product + (added if beta == 1 else added * beta)


def _linear_weights(b: np.ndarray, alpha: float, flip: bool) -> np.ndarray:
    if flip and alpha == 1:
        return b
    return np.ascontiguousarray((b if flip else b.T) * np.asarray(alpha, b.dtype))


def _linear_bias(c: Value, beta: float, width: int) -> np.ndarray | None:
    if (
        not isinstance(c, np.ndarray)
        or c.size not in (1, width)
        or c.shape[:-1].count(1) != len(c.shape[:-1])
    ):
        return None
    if beta == 1 and c.shape == (width,):
        return c
    made: np.ndarray = np.broadcast_to(c.reshape(-1) * np.asarray(beta, c.dtype), (width,))
    return np.ascontiguousarray(made)


@operator("Einsum", 12, 28)
def einsum(call: Call, *values: Value) -> Results:
    equation = str(call.attr("equation"))
    for term in equation.partition("->")[0].split(","):
        letters = term.strip().replace("...", "")
        if len(set(letters)) != len(letters):
            raise call.refused("it takes a diagonal, which converters compute wrongly")
    return torch.einsum(equation, *(call.tensor(value) for value in values))
