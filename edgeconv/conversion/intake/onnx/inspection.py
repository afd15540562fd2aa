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
    arrays = list(_weights(model.graph))
    return Inspection(
        format="onnx",
        inputs=model.inputs,
        outputs=model.outputs,
        parameters=sum(int(array.size) for array in arrays),
        weights_bytes=sum(int(array.nbytes) for array in arrays),
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


def _weights(graph: Graph) -> Iterator[np.ndarray]:
    """Constants of the file, as initializers or as nodes."""
    yield from graph.constants.values()
    for node in graph.nodes:
        for value in node.attributes.values():
            if isinstance(value, Graph):
                yield from _weights(value)
            elif isinstance(value, np.ndarray):
                yield value
