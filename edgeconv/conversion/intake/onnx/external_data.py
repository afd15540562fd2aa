"""Checks where a model's external data lies before anything reads it."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import TensorProto
from onnx.external_data_helper import uses_external_data

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause


def check_external_data(model: onnx.ModelProto, folder: Path) -> None:
    """Refuses external data that is not a whole, regular file beside the model.

    Raises:
        EdgeconvError: MODEL_UNSAFE for a location outside `folder` or a link;
            MODEL_UNREADABLE for a file that is absent or too short.
    """
    for tensor in external_tensors(model):
        _check(tensor, folder)


def external_tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Tensors of the graphs and of the model's functions whose values are not in the file."""
    for tensor in _tensors(model.graph):
        if uses_external_data(tensor):
            yield tensor
    for function in model.functions:
        # Values of attributes that a call leaves out are of the same kind as a node's.
        for tensor in (*_of_nodes(function.node), *_of_attributes(function.attribute_proto)):
            if uses_external_data(tensor):
                yield tensor


def _check(tensor: TensorProto, folder: Path) -> None:
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    if not _is_plain_name(location):
        raise EdgeconvError(
            Reason.MODEL_UNSAFE,
            f"Tensor {tensor.name!r} has its data in {location!r}, which is not a file"
            " beside the model.",
            fix="Save the model with its external data in the same folder.",
            tensor=tensor.name,
            location=location,
        )
    path = folder / location
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise _short(tensor.name, location, "the file is not there") from None
    if not stat.S_ISREG(status.st_mode):
        raise EdgeconvError(
            Reason.MODEL_UNSAFE,
            f"Tensor {tensor.name!r} has its data in {location!r}, which is no regular file.",
            tensor=tensor.name,
            location=location,
        )
    offset, length = _number(tensor, fields, "offset"), _number(tensor, fields, "length")
    if offset + length > status.st_size:
        why = f"it needs {offset + length} bytes and the file has {status.st_size}"
        raise _short(tensor.name, location, why)


def _number(tensor: TensorProto, fields: dict[str, str], key: str) -> int:
    text = fields.get(key, "0")
    if not (text.isascii() and text.isdigit()):
        raise _short(tensor.name, fields["location"], f"its {key} {text!r} is no number")
    return int(text)


def _short(tensor: str, location: str, why: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.MODEL_UNREADABLE,
        f"Tensor {tensor!r} can't be read from {location!r}: {clause(why)}.",
        fix="Send every file of the model, whole.",
        tensor=tensor,
        location=location,
    )


def _is_plain_name(location: str) -> bool:
    return (
        location not in ("", ".", "..")
        and PurePosixPath(location).name == location
        and PureWindowsPath(location).name == location
        and "\0" not in location
    )


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        yield from _of_attributes(node.attribute)


def _of_attributes(attributes: Iterable[onnx.AttributeProto]) -> Iterator[TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        if attribute.HasField("g"):
            yield from _tensors(attribute.g)
        for subgraph in attribute.graphs:
            yield from _tensors(subgraph)
