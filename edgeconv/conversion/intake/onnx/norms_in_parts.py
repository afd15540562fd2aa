"""Layer normalization that an exporter wrote in parts, as every one before version 17 is.

    d = x - mean(x);  y = d / √(mean(d²) + ε) · scale + bias

with the means over the last axes, d² as a product or a power, and scale and bias constants
over these axes, which may be missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeconv.conversion.intake.onnx.call import Array, normal_axis
from edgeconv.conversion.intake.onnx.model import Node
from edgeconv.conversion.intake.onnx.plan import PlannedStep, Ref
from edgeconv.conversion.intake.onnx.step_graph import Match, StepGraph, single_number


def find_layer_norm(step: PlannedStep, graph: StepGraph) -> Match | None:
    """The normalization whose deviation this step, a square root, computes."""
    if step.node.operator != "Sqrt":
        return None
    for divided in graph.readers(step.node.outputs[0], "Div"):
        found = _normalized(divided, step, graph)
        if found is not None:
            return found
    return None


def _normalized(divided: PlannedStep, root: PlannedStep, graph: StepGraph) -> Match | None:
    """All that belongs to the quotient d / √(…)."""
    if len(divided.refs) != 2 or divided.refs[1] != root.node.outputs[0]:
        return None
    deviation = _deviation(divided.refs[0], graph)
    shifted = graph.maker(root.refs[0], "Add")
    if deviation is None or shifted is None or len(shifted.refs) != 1:
        return None
    source, axes, gone = deviation
    epsilon = single_number(_constant(shifted), graph.tensor(source).ndim)
    variance = _mean(shifted.refs[0], graph)
    if epsilon is None or variance is None or variance[1] != axes:
        return None
    squared = _square(variance[0].refs[0], graph)
    again = None if squared is None else _deviation(squared.refs[0], graph)
    if squared is None or again is None or again[:2] != (source, axes):
        return None
    gone = {*gone, *again[2], squared, variance[0], shifted, root}
    steps, scale, bias = _affine(divided, tuple(graph.tensor(source).shape[axes[0] :]), graph)
    last = steps[-1]
    gone.update(steps[:-1])
    if not graph.hidden(gone, last):
        return None
    node = Node(
        name=last.node.name,
        operator="LayerNormalization",
        version=17,
        inputs=(source,),
        outputs=last.node.outputs[:1],
        attributes={"axis": axes[0], "epsilon": epsilon, "stash_type": 1},
    )
    return Match(node.operator, last, PlannedStep(node, (Ref(source), scale, bias)), gone)


def _constant(step: PlannedStep) -> Array | None:
    return next((each for each in step.arguments if isinstance(each, np.ndarray)), None)


def _deviation(name: str, graph: StepGraph) -> tuple[str, tuple[int, ...], set[PlannedStep]] | None:
    """The tensor whose deviation from its mean this is, the mean's axes, and the steps."""
    difference = graph.maker(name, "Sub")
    if difference is None or len(difference.refs) != 2:
        return None
    source, centre = difference.refs
    mean = _mean(centre, graph)
    if mean is None or mean[0].refs[0] != source:
        return None
    return source, mean[1], {difference, mean[0]}


def _mean(name: str, graph: StepGraph) -> tuple[PlannedStep, tuple[int, ...]] | None:
    """The mean over the last axes that makes a tensor, and these axes."""
    step = graph.maker(name, "ReduceMean")
    if step is None or len(step.refs) != 1 or not step.node.attributes.get("keepdims", 1):
        return None
    rank = graph.tensor(step.refs[0]).ndim
    given: Any = step.node.attributes.get("axes")
    if len(step.arguments) > 1 and isinstance(step.arguments[1], np.ndarray):
        given = step.arguments[1].reshape(-1).tolist()
    if not given:
        return None
    axes = tuple(sorted(normal_axis(int(axis), rank) for axis in given))
    return (step, axes) if axes == tuple(range(axes[0], rank)) else None


def _square(name: str, graph: StepGraph) -> PlannedStep | None:
    step = graph.maker(name, "Mul", "Pow")
    if step is None:
        return None
    if step.node.operator == "Mul":
        return step if len(step.refs) == 2 and step.refs[0] == step.refs[1] else None
    rank = graph.tensor(name).ndim
    is_two = len(step.refs) == 1 and single_number(step.arguments[1], rank) == 2.0
    return step if is_two else None


def _affine(
    divided: PlannedStep, shape: tuple[int, ...], graph: StepGraph
) -> tuple[list[PlannedStep], Array | None, Array | None]:
    """The quotient and what scales and moves it over the last axes, with its constants."""
    scaled = _follower(divided, "Mul", shape, graph)
    if scaled is None:
        return [divided], None, None
    moved = _follower(scaled[0], "Add", shape, graph)
    if moved is None:
        return [divided, scaled[0]], scaled[1], None
    return [divided, scaled[0], moved[0]], scaled[1], moved[1]


def _follower(
    before: PlannedStep, operator: str, shape: tuple[int, ...], graph: StepGraph
) -> tuple[PlannedStep, Array] | None:
    """The only reader, and its constant of that shape."""
    name = before.node.outputs[0]
    for reader in graph.readers(name, operator):
        constant = _constant(reader)
        if not graph.hidden({before}, reader) or constant is None:
            continue
        leading = constant.ndim - len(shape)
        if leading < 0 or constant.ndim > graph.tensor(name).ndim:
            continue
        if constant.shape == (1,) * leading + shape:
            return reader, constant.reshape(shape) if leading else constant
    return None
