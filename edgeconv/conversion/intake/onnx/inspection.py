"""What an ONNX file tells before it is converted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake.onnx.model import Graph, Node, OnnxModel, read_model
from edgeconv.conversion.intake.onnx.plan import make_plan
from edgeconv.conversion.intake.onnx.program import static_inputs
from edgeconv.conversion.intake.onnx.support import check_operators
from edgeconv.recipe.inspection import Inspection

_NO_PARAMETERS = ("int64", "bool")
"""What an ONNX file keeps shapes, indices and masks in."""


def inspect_onnx(path: Path) -> Inspection:
    """See `edgeconv.conversion.intake.inspect_source`.

    Where no axis but the first is open, the graph is walked once with zeros, which finds
    every node that can't be taken; else operators are checked without shapes.
    """
    model = read_model(path)
    check_operators(model.graph)
    notes = list(model.notes)
    try:
        make_plan(model, static_inputs(model.inputs, {}))
    except EdgeconvError as error:
        if error.reason is not Reason.DIMENSION_UNKNOWN:
            raise
        notes.append(f"{error.message} Operators were checked without shapes.")
    statistics = {
        name
        for node in all_nodes(model)
        if node.operator == "BatchNormalization"
        for name in node.inputs[3:5]
    }
    arrays = list(_weights(model.graph))
    return Inspection(
        format="onnx",
        inputs=model.inputs,
        outputs=model.outputs,
        parameters=sum(
            int(array.size)
            for name, array in arrays
            if name not in statistics and array.dtype.name not in _NO_PARAMETERS
        ),
        weights_bytes=sum(int(array.nbytes) for _, array in arrays),
        operators=dict(sorted(Counter(node.operator for node in all_nodes(model)).items())),
        opset=model.opset,
        notes=tuple(notes),
    )


def all_nodes(model: OnnxModel) -> Iterator[Node]:
    """The nodes of the graph and of all subgraphs."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield from graph.nodes
        pending.extend(
            value
            for node in graph.nodes
            for value in node.attributes.values()
            if isinstance(value, Graph)
        )


def _weights(graph: Graph) -> Iterator[tuple[str, np.ndarray]]:
    """Constants of the file, as initializers or as nodes, which have no name: ""."""
    yield from graph.constants.items()
    for node in graph.nodes:
        for value in node.attributes.values():
            if isinstance(value, Graph):
                yield from _weights(value)
            elif isinstance(value, np.ndarray):
                yield "", value
