"""Whether every node of a graph can be taken, as far as can be told without shapes."""

from __future__ import annotations

from edgeconv.conversion.intake.onnx.call import find_handler
from edgeconv.conversion.intake.onnx.model import Graph, unsupported

# What is known from shapes and constants, and what planning resolves.
_PLANNED = {"Constant", "Shape", "Size", "If"}


def check_operators(graph: Graph, known: frozenset[str] = frozenset()) -> None:
    """Refuses the first node that has no handler and may be computed at run time.

    Args:
        known: Names that are constant in an outer graph.

    Raises:
        EdgeconvError: OPERATOR_UNSUPPORTED naming the node and its operator.
    """
    constant = {*known, *graph.constants, ""}
    for node in graph.nodes:
        fixed = node.operator in ("Constant", "Shape", "Size") or (
            node.operator != "If" and constant.issuperset(node.inputs)
        )
        if fixed:
            constant.update(node.outputs)
        elif node.operator not in _PLANNED and find_handler(node) is None:
            why = f"version {node.version} of this operator is not supported on computed values"
            raise unsupported(node.name, node.operator, why)
