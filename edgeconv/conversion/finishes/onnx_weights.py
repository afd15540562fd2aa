"""8-bit weights in an ONNX graph that computes in float: DequantizeLinear on each weight."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from edgeconv.conversion.finishes.onnx_prepare import prepare
from edgeconv.conversion.finishes.onnx_proof import prove_prepared
from edgeconv.conversion.finishes.onnx_state import (
    LEAST_ELEMENTS,
    WEIGHTS,
    check_float,
    composition,
    float_weights,
    write_finished,
)
from edgeconv.conversion.finishes.outcome import finished
from edgeconv.conversion.onnx_file import DOMAINS
from edgeconv.conversion.program import Artifact, Context
from edgeconv.recipe.specs import Int8WeightsOptions, StepSpec
from edgeconv.results.effect import Effect

_QMAX = 127


def quantize_weights(
    spec: StepSpec, artifact: Artifact, options: Int8WeightsOptions, context: Context
) -> tuple[Artifact, Effect]:
    """Symmetric per-channel weights; a weight of under 256 elements stays as it is."""
    model, notes = prepare(artifact.path, context.scratch)
    check_float(spec, artifact, model)
    notes += prove_prepared(spec, artifact, model, context)
    before = composition(model)
    count = quantize_graph(model.graph)
    notes += float_weights(model)
    write_finished(model, context.folder)
    return finished(
        spec,
        artifact,
        context.folder,
        options,
        before=before,
        after=composition(model),
        notes=notes,
        figures={"weights_quantized": count},
        seed=context.seed,
    )


def quantize_graph(graph: GraphProto) -> int:
    """Puts 8-bit weights and a DequantizeLinear under each operator, in place; how many."""
    weights = {
        tensor.name: tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= 2
    }
    outputs = {value.name for value in graph.output}
    done: dict[tuple[str, int], str] = {}
    for node in list(graph.node):
        for place, axis in _weight_places(node):
            name = node.input[place] if place < len(node.input) else ""
            if name not in weights or name in outputs:
                continue
            values = numpy_helper.to_array(weights[name])
            if values.size < LEAST_ELEMENTS or not np.isfinite(values).all():
                continue
            key = (name, axis % values.ndim)
            if key not in done:
                done[key] = _add_dequantized(graph, name, values, key[1])
            node.input[place] = done[key]
    _drop_unused(graph, {name for name, _ in done})
    return len(done)


def _weight_places(node: NodeProto) -> Iterator[tuple[int, int]]:
    if node.domain not in DOMAINS:
        return
    for place, axis in WEIGHTS.get(node.op_type, ()):
        transposed = "transB" if place else "transA"
        flipped = any(each.name == transposed and each.i for each in node.attribute)
        group = next((each.i for each in node.attribute if each.name == "group"), 1)
        if node.op_type == "ConvTranspose" and group > 1:
            # Output channels of a group share axis 1 with those of the others.
            axis = 0
        yield place, 1 - axis if flipped else axis


def _add_dequantized(graph: GraphProto, name: str, values: NDArray[np.float32], axis: int) -> str:
    others = tuple(each for each in range(values.ndim) if each != axis)
    peaks = np.abs(values).max(axis=others)
    scales = np.where(peaks > 0, peaks / _QMAX, 1.0).astype(np.float32)
    shape = [1] * values.ndim
    shape[axis] = -1
    integers = np.rint(values / scales.reshape(shape)).clip(-_QMAX, _QMAX).astype(np.int8)
    stem = f"{name}/int8/{axis}"
    graph.initializer.append(numpy_helper.from_array(integers, stem))
    graph.initializer.append(numpy_helper.from_array(scales, f"{stem}/scale"))
    zeros = np.zeros(scales.shape, np.int8)
    graph.initializer.append(numpy_helper.from_array(zeros, f"{stem}/zero"))
    inputs = [stem, f"{stem}/scale", f"{stem}/zero"]
    node = helper.make_node("DequantizeLinear", inputs, [f"{stem}/float"], axis=axis)
    graph.node.insert(0, node)
    return f"{stem}/float"


def _drop_unused(graph: GraphProto, names: set[str]) -> None:
    used = {name for node in graph.node for name in node.input}
    used |= {value.name for value in graph.output}
    kept = [each for each in graph.initializer if each.name not in names or each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    inputs = [each for each in graph.input if each.name not in names or each.name in used]
    del graph.input[:]
    graph.input.extend(inputs)
