"""What an ONNX graph consists of, and how a quantized one is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx import ModelProto, TensorProto

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause
from edgeconv.conversion.calls import told
from edgeconv.conversion.finishes.outcome import not_applicable
from edgeconv.conversion.onnx_file import (
    DOMAINS,
    drop_wrong_value_infos,
    graphs_of,
    number_nodes,
    operator_counts,
    sort_nodes,
    strip_traces,
    write_onnx,
)
from edgeconv.conversion.program import Artifact
from edgeconv.recipe.specs import StepSpec
from edgeconv.results.effect import Note

_QUANTIZED_OPERATORS = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "MatMulInteger"}
_TITLE = "edgeconv"
_QUANTIZERS_ENTRIES = {"onnx.infer", "onnx.quant.pre_process"}

LEAST_ELEMENTS = 256
"""A smaller weight is not worth its scales."""
WEIGHTS: dict[str, tuple[tuple[int, int], ...]] = {
    "Conv": ((1, 0),),
    "ConvTranspose": ((1, 1),),
    "MatMul": ((1, -1), (0, -2)),
    "Gemm": ((1, 1), (0, 0)),
    "Gather": ((0, 0),),
    "GRU": ((1, 1), (2, 1)),
    "LSTM": ((1, 1), (2, 1)),
    "RNN": ((1, 1), (2, 1)),
}
"""Operator → (place of a weight among its inputs, axis of the weight's output channels).

For Gather the axis is that of a table's rows.
"""


def check_float(spec: StepSpec, artifact: Artifact, model: ModelProto) -> None:
    """Refuses graphs that are quantized or in half precision already.

    Raises:
        EdgeconvError: NOT_APPLICABLE naming an operator or weight.
    """
    found = _QUANTIZED_OPERATORS & set(operator_counts(model))
    if found:
        raise not_applicable(spec, artifact, f"it is quantized already ({min(found)})")
    for graph in graphs_of(model):
        for tensor in graph.initializer:
            if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
                why = f"its weight {tensor.name!r} is in half precision already"
                raise not_applicable(spec, artifact, why)


def composition(model: ModelProto) -> dict[str, int]:
    """Operators and types of weights → count."""
    counts = Counter(operator_counts(model))
    for graph in graphs_of(model):
        for tensor in graph.initializer:
            counts[f"weight of {TensorProto.DataType.Name(tensor.data_type)}"] += 1
    return dict(counts)


def float_weights(model: ModelProto) -> list[Note]:
    """A note for each kind of operator whose weights are still float."""
    left: Counter[str] = Counter()
    for graph in graphs_of(model):
        large = {
            tensor.name
            for tensor in graph.initializer
            if tensor.data_type == TensorProto.FLOAT and _elements(tensor) >= LEAST_ELEMENTS
        }
        for node in graph.node:
            if node.domain in DOMAINS:
                places = [place for place, _ in WEIGHTS.get(node.op_type, ())]
                given = [node.input[place] for place in places if place < len(node.input)]
                left[node.op_type] += any(name in large for name in given)
    return [
        Note(kind="stayed_float", subject=kind, message=f"{count} of them keep float weights.")
        for kind, count in sorted(left.items())
        if count
    ]


@contextmanager
def asking_quantizer() -> Iterator[None]:
    """Around a call of ONNX Runtime's tools, which raise what they stumble over.

    Raises:
        EdgeconvError: NOT_APPLICABLE with the type and the first line of what was raised.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as fault:
        # ValueError, IndexError, AssertionError and more, some without words.
        raise EdgeconvError(
            Reason.NOT_APPLICABLE,
            f"ONNX Runtime's quantizer can't take the graph: {clause(told(fault))}.",
            fix="Take another precision for this model, as int8-weights.",
        ) from fault


def write_finished(model: ModelProto, folder: Path) -> None:
    """Writes a quantized graph clean and in one way.

    Quantizers leave their own names as producer and in the metadata, and initializers in
    an order that follows their hash maps. The user's own metadata stays.
    """
    strip_traces(model)
    entries = [each for each in model.metadata_props if each.key not in _QUANTIZERS_ENTRIES]
    del model.metadata_props[:]
    model.metadata_props.extend(entries)
    drop_wrong_value_infos(model)
    del model.graph.value_info[:]
    model.producer_name, model.producer_version = _TITLE, ""
    ordered = sorted(model.graph.initializer, key=lambda tensor: tensor.name)
    del model.graph.initializer[:]
    model.graph.initializer.extend(ordered)
    sort_nodes(model.graph)
    number_nodes(model.graph.node)
    write_onnx(model, folder)


def _elements(tensor: TensorProto) -> int:
    count = 1
    for size in tensor.dims:
        count *= size
    return count
