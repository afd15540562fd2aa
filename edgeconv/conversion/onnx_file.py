"""An ONNX file: read, cleaned, written back in one way, so that equal graphs are equal bytes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

ONNX_FILE = "model.onnx"
ONNX_DATA_FILE = "model.onnx.data"
_LARGE_BYTES = 1_500_000_000
"""Above it weights go beside the graph: protobuf ends at 2 GiB."""
_SMALL_TENSOR_BYTES = 1024
DOMAINS = {"", "ai.onnx"}
_TELLING = re.compile(
    r"""File\s".*",\sline\s\d      # a stack trace
    | [\w/\\]\.py\b             # a file of code
    | (?:^|[\s"'=(\[,])(?:        # an absolute path
        (?:/[\w.~-]+){2} | [A-Za-z]:\\\w )""",
    re.VERBOSE,
)


def read_onnx(path: Path) -> ModelProto:
    """The whole model, weights that stand beside it included."""
    return onnx.load(str(path), format="protobuf")


def write_onnx(model: ModelProto, folder: Path) -> Path:
    """Writes `model.onnx`, and `model.onnx.data` when it is larger than 1.5 GB.

    Values that sets and hash maps put in any order are put in one.
    """
    path = folder / ONNX_FILE
    opsets = sorted(model.opset_import, key=lambda each: each.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    if model.ByteSize() > _LARGE_BYTES:
        onnx.save_model(
            model,
            str(path),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=ONNX_DATA_FILE,
            size_threshold=_SMALL_TENSOR_BYTES,
        )
    else:
        path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def opset_of(model: ModelProto) -> int:
    """The version of the default operator set; 0 when the file names none."""
    return next((each.version for each in model.opset_import if each.domain in DOMAINS), 0)


def graphs_of(model: ModelProto) -> Iterator[GraphProto]:
    """The main graph and all graphs inside its nodes."""
    waiting = [model.graph]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
                waiting.extend(attribute.graphs)


def nodes_of(model: ModelProto) -> Iterator[NodeProto]:
    """All nodes, those of inner graphs and functions included."""
    for graph in graphs_of(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def operator_counts(model: ModelProto) -> dict[str, int]:
    """Operator → how often it stands in the file; other domains as "domain.operator"."""
    return dict(
        Counter(
            node.op_type if node.domain in DOMAINS else f"{node.domain}.{node.op_type}"
            for node in nodes_of(model)
        )
    )


def weight_types(model: ModelProto) -> dict[str, int]:
    """Element type → bytes of the weights of that type."""
    sizes: Counter[str] = Counter()
    for graph in graphs_of(model):
        for tensor in graph.initializer:
            sizes[TensorProto.DataType.Name(tensor.data_type).lower()] += _bytes_of(tensor)
    return dict(sizes)


def has_traces(model: ModelProto) -> bool:
    """Whether the file tells of the source's code.

    A node carries metadata or a doc string, in which exporters put stack traces, or an
    entry of the model's own metadata holds a trace or a path.
    """
    return bool(_telling(model)) or any(
        node.doc_string or len(getattr(node, "metadata_props", ())) for node in nodes_of(model)
    )


def strip_traces(model: ModelProto) -> list[str]:
    """Removes traces, metadata and doc strings of the graphs, in place.

    The model's own metadata stays, which apps read: names of classes, strides. Of it only
    entries that hold a trace or a path of a file go.

    Returns:
        Keys of the model's entries that went.
    """
    gone = _telling(model)
    kept = [(each.key, each.value) for each in model.metadata_props if each.key not in gone]
    words = "" if _TELLING.search(model.doc_string) else model.doc_string
    strip(model)
    for key, value in kept:
        model.metadata_props.add(key=key, value=value)
    model.doc_string = words
    return gone


def strip(model: ModelProto) -> None:
    """Removes all that tells of the source's code, in place: traces, metadata, doc strings."""
    model.doc_string = ""
    _clear(model, "metadata_props")
    for graph in graphs_of(model):
        graph.doc_string = ""
        _clear(graph, "metadata_props")
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.doc_string = ""
            _clear(value, "metadata_props")
        for node in graph.node:
            node.doc_string = ""
            _clear(node, "metadata_props")
    for function in model.functions:
        function.doc_string = ""
        _clear(function, "metadata_props")
        for node in function.node:
            node.doc_string = ""
            _clear(node, "metadata_props")


def drop_wrong_value_infos(model: ModelProto) -> None:
    """Removes value infos that name initializers, in place: shape inference stumbles on them."""
    for graph in graphs_of(model):
        weights = {tensor.name for tensor in graph.initializer}
        kept = [value for value in graph.value_info if value.name not in weights]
        del graph.value_info[:]
        graph.value_info.extend(kept)


def sort_nodes(graph: GraphProto) -> None:
    """Puts nodes behind what they read, in place; those that may stay keep their order."""
    waiting = list(graph.node)
    missing = {name for node in waiting for name in node.output if name}
    ordered: list[NodeProto] = []
    while waiting:
        ready = []
        late = []
        for node in waiting:
            if any(name in missing for name in _reads(node)):
                late.append(node)
            else:
                ready.append(node)
                missing.difference_update(node.output)
        if not ready:
            raise ValueError(f"nodes depend on each other: {[node.name for node in late]}")
        ordered += ready
        waiting = late
    del graph.node[:]
    graph.node.extend(ordered)


def _reads(node: NodeProto) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)


def number_nodes(nodes: Iterable[NodeProto]) -> None:
    """Gives nodes names by operator and position, in place, unique and equal in every run."""
    for index, node in enumerate(nodes):
        node.name = f"{node.op_type}_{index}"


def _telling(model: ModelProto) -> list[str]:
    return [each.key for each in model.metadata_props if _TELLING.search(each.value)]


def _clear(owner: Any, field: str) -> None:
    # Files of IR versions before 10 have messages without the field in some builds.
    if hasattr(owner, field):
        del getattr(owner, field)[:]


def _bytes_of(tensor: TensorProto) -> int:
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    return int(onnx.numpy_helper.to_array(tensor).nbytes)
