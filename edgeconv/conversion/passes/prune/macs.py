"""Multiply-accumulate operations and parameters of a program."""

from __future__ import annotations

import math

from torch.export import ExportedProgram
from torch.fx import Node

from edgeconv.conversion.passes.prune.graph import (
    arguments,
    operator_name,
    placeholder_tensors,
    shape_of,
)


def count_macs(exported: ExportedProgram) -> int:
    """Of convolutions, linear layers and matrix products, for one run."""
    return sum(_macs(node) for node in exported.graph.nodes if node.op == "call_function")


def count_parameters(exported: ExportedProgram) -> int:
    """Elements of all floating-point parameters, buffers and constants."""
    tensors = placeholder_tensors(exported).values()
    return sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())


def _macs(node: Node) -> int:
    name = operator_name(node).removeprefix("aten.")
    if name.startswith("conv"):
        given = arguments(node)
        weight = math.prod(shape_of(given["weight"])[1:])
        # Each output of a convolution takes a filter; each input of a transposed one gives it.
        turned = given.get("transposed", "transpose" in name)
        return math.prod(shape_of(given["input"] if turned else node)) * weight
    if name == "linear":
        return math.prod(shape_of(node)) * shape_of(arguments(node)["weight"])[-1]
    if name == "addmm":
        return math.prod(shape_of(node)) * shape_of(arguments(node)["mat1"])[-1]
    if name in ("matmul", "mm", "bmm"):
        left = node.args[0]
        assert isinstance(left, Node)
        return math.prod(shape_of(node)) * shape_of(left)[-1]
    if name == "scaled_dot_product_attention":
        given = arguments(node)
        query, key, value = (shape_of(given[each]) for each in ("query", "key", "value"))
        return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    return 0
