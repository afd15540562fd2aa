"""Clips that a quantizer can't leave to the range of what follows: zero lies in every range."""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, numpy_helper

from edgeconv.conversion.onnx_file import DOMAINS


def clips_beside_zero(graph: GraphProto) -> list[str]:
    """Names of the Clips whose bounds leave zero out, or are not known before a run."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type == "Clip"
        and node.domain in DOMAINS
        and not (_bound(node, 1, -np.inf, constants) <= 0 <= _bound(node, 2, np.inf, constants))
    ]


def _bound(node: NodeProto, place: int, absent: float, constants: dict[str, TensorProto]) -> float:
    name = node.input[place] if place < len(node.input) else ""
    if not name:
        return absent
    if name not in constants:
        return np.nan
    return float(numpy_helper.to_array(constants[name]).reshape(()))
