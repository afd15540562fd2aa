"""Half precision in an ONNX graph, by the float16 tool of ONNX Runtime."""

from __future__ import annotations

import warnings

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from edgeconv.conversion.finishes.onnx_state import (
    asking_quantizer,
    check_float,
    composition,
    write_finished,
)
from edgeconv.conversion.finishes.outcome import finished
from edgeconv.conversion.onnx_file import (
    drop_wrong_value_infos,
    graphs_of,
    nodes_of,
    number_nodes,
    read_onnx,
)
from edgeconv.conversion.program import Artifact, Context
from edgeconv.recipe.specs import Fp16Options, StepSpec
from edgeconv.results.effect import Effect, Note

_LARGEST = float(np.finfo(np.float16).max)


def halve(
    spec: StepSpec, artifact: Artifact, options: Fp16Options, context: Context
) -> tuple[Artifact, Effect]:
    """Weights and computation in half precision, inputs and outputs in their own dtypes.

    A transposition of the batch in front of a matrix product stays in single precision,
    which loses nothing: ONNX Runtime 1.31.1 dies of SIGSEGV when it fuses the two in half
    precision on a CPU.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = read_onnx(artifact.path)
    check_float(spec, artifact, model)
    drop_wrong_value_infos(model)
    before = composition(model)
    notes = _clipped(model)
    number_nodes(nodes_of(model))
    kept = _fatal_transposes(model)
    if kept:
        words = f"{len(kept)} of them stay in single precision: ONNX Runtime dies of them in half."
        notes.append(Note(kind="stayed_float", subject="Transpose", message=words))
    with warnings.catch_warnings(), asking_quantizer():
        # It warns of each value that is rounded to zero; what matters is said in the notes.
        warnings.simplefilter("ignore")
        halved = convert_float_to_float16(model, keep_io_types=True, node_block_list=kept)
    write_finished(halved, context.folder)
    return finished(
        spec,
        artifact,
        context.folder,
        options,
        before=before,
        after=composition(halved),
        notes=notes,
        figures={},
        seed=context.seed,
    )


def _fatal_transposes(model: ModelProto) -> list[str]:
    """Names of transpositions that put the first axis among the last two, read by MatMul."""
    found = []
    for graph in graphs_of(model):
        multiplied = {
            name for node in graph.node if node.op_type == "MatMul" for name in node.input
        }
        for node in graph.node:
            if node.op_type != "Transpose" or node.output[0] not in multiplied:
                continue
            order = next((list(each.ints) for each in node.attribute if each.name == "perm"), [])
            rank = len(order)
            batch, matrix = order[: rank - 2], order[rank - 2 :]
            if rank > 2 and batch == list(range(1, rank - 1)) and set(matrix) == {0, rank - 1}:
                found.append(node.name)
    return found


def _clipped(model: ModelProto) -> list[Note]:
    notes = []
    for graph in graphs_of(model):
        for tensor in graph.initializer:
            if tensor.data_type != TensorProto.FLOAT:
                continue
            values = numpy_helper.to_array(tensor)
            count = int(np.count_nonzero(np.abs(values) > _LARGEST))
            if count:
                words = f"{count} of its values lie beyond {_LARGEST:g} and were clipped."
                notes.append(Note(kind="clipped", subject=tensor.name, message=words))
    return notes
