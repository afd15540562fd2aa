"""An ONNX file as plain Python data: nodes with their attributes, constants, interface."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause
from edgeconv.conversion.intake.foreign_words import first_words
from edgeconv.conversion.intake.onnx.external_data import check_external_data
from edgeconv.conversion.intake.onnx.function_calls import check_function_calls
from edgeconv.conversion.intake.onnx.scopes import Scope
from edgeconv.conversion.intake.onnx.texts import check_texts
from edgeconv.recipe.signature import DeclaredTensor, DType

OLDEST_OPSET = 7
_DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class Node:
    """One operator call.

    Attributes:
        name: The user's own, or operator and position where the file has none.
        version: Version of the operator's schema that the file's operator set means.
        inputs: Tensor names; an omitted one is empty.
        attributes: Given ones and the schema's defaults, as Python and numpy values; a
            subgraph is a `Graph`.
    """

    name: str
    operator: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order, and the tensors that are known.

    A tensor of a subgraph has a name that nothing else in the model has.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, NDArray[Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A whole model.

    Attributes:
        inputs: Declared inputs without those that have a default value in the file.
        notes: What a user should know.
    """

    graph: Graph
    inputs: tuple[DeclaredTensor, ...]
    outputs: tuple[DeclaredTensor, ...]
    opset: int
    notes: tuple[str, ...] = field(default=())


def read_model(path: Path) -> OnnxModel:
    """Reads an ONNX file and its external data.

    Raises:
        EdgeconvError: MODEL_UNREADABLE, MODEL_UNSAFE for external data outside the
            folder, OPERATOR_UNSUPPORTED for operators or element types that ONNX or
            edgeconv does not know.
    """
    proto = parse(path)
    check_external_data(proto, path.parent)
    if proto.functions:
        check_function_calls(proto)
        proto = _without_functions(proto)
    opset = _opset(proto)
    graph = _Reader(path.parent, opset).graph(proto.graph, "", Scope(_given_names(proto.graph)))
    inputs = [value for value in proto.graph.input if value.name in graph.inputs]
    notes = [
        f"Input {value.name!r} has a value in the file; it is taken as a constant."
        for value in proto.graph.input
        if value.name in graph.constants
    ]
    return OnnxModel(
        graph=graph,
        inputs=tuple(_declared(value) for value in inputs),
        outputs=tuple(_declared(value) for value in proto.graph.output),
        opset=opset,
        notes=tuple(notes),
    )


def parse(path: Path) -> onnx.ModelProto:
    """The protobuf message of a file, external data not read.

    Raises:
        EdgeconvError: MODEL_UNREADABLE.
    """
    try:
        # By itself it would choose a parser after the file's name, one of which is recursive.
        proto = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except Exception as error:
        # The protobuf back ends raise types of their own for damaged bytes.
        raise unreadable(path.name, f"it can't be parsed ({first_words(error)})") from error
    check_texts(proto, path.name)
    if not proto.graph.node or not proto.graph.output:
        raise unreadable(path.name, "it has no graph with nodes and outputs")
    return proto


def unreadable(name: str, why: str) -> EdgeconvError:
    """The error for a file that is not a whole ONNX model."""
    return EdgeconvError(
        Reason.MODEL_UNREADABLE,
        f"{name!r} is not a whole ONNX model: {clause(why)}.",
        fix="Export the model again and send the whole file with its external data.",
        file=name,
    )


def broken(what: str, why: str) -> EdgeconvError:
    """The error for a model that is not whole at a node or tensor."""
    return EdgeconvError(
        Reason.MODEL_UNREADABLE,
        f"The ONNX model is not whole at {what!r}: {clause(why)}.",
        fix="Export the model again.",
        at=what,
    )


def unsupported(node: str, operator: str, why: str, fix: str = "") -> EdgeconvError:
    """The error for a node that can't be taken."""
    # An operator's name is any text, too.
    return EdgeconvError(
        Reason.OPERATOR_UNSUPPORTED,
        f"Node {node!r} ({repr(operator)[1:-1]}) can't be taken: {clause(why)}.",
        fix=fix or "Rewrite this part of the model with supported operators.",
        node=node,
        operator=operator,
    )


def _without_functions(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its functions' bodies where they are called, in its own operator set."""
    opset = _opset(proto)
    try:
        made = onnx.inliner.inline_local_functions(proto, convert_version=True)
    except Exception as error:
        # The inliner and the version converter raise types of their compiled code.
        first, *_ = proto.functions
        why = f"the model's functions can't be put in their places ({first_words(error)})"
        raise unsupported(first.name, "function", why) from error
    for function in made.functions:
        versions = [
            each.version for each in function.opset_import if each.domain in _DEFAULT_DOMAINS
        ]
        if any(version != opset for version in versions):
            why = (
                f"the function is of operator set {max(versions)}, the model of {opset}, and"
                " ONNX can't convert it"
            )
            fix = f"Export the model with all functions of operator set {opset}."
            raise unsupported(function.name, "function", why, fix)
    return made


def _opset(proto: onnx.ModelProto) -> int:
    versions = [each.version for each in proto.opset_import if each.domain in _DEFAULT_DOMAINS]
    opset = max(versions, default=1)
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise EdgeconvError(
            Reason.OPERATOR_UNSUPPORTED,
            f"The model has operator set {opset}; {OLDEST_OPSET} to {newest} can be read.",
            fix="Convert it with onnx.version_converter, or export it again.",
            opset=opset,
        )
    return opset


class _Reader:
    """Turns protobuf messages into data."""

    def __init__(self, folder: Path, opset: int) -> None:
        self._folder = folder
        self._opset = opset

    def graph(self, proto: onnx.GraphProto, prefix: str, scope: Scope) -> Graph:
        constants = {
            scope.add(each.name): self._array(each, each.name) for each in proto.initializer
        }
        if proto.sparse_initializer:
            name = proto.sparse_initializer[0].values.name
            raise unsupported(name, "sparse initializer", "sparse tensors are not supported")
        defaults = {each.name for each in proto.initializer}
        if any(not each.name for each in proto.input):
            raise broken(f"the inputs of graph {proto.name}", "one of them has no name")
        inputs = [scope.add(each.name) for each in proto.input if each.name not in defaults]
        nodes = tuple(self._nodes(proto, prefix, scope))
        for place, each in enumerate(proto.output):
            # Of a node, an empty name means an input or output that is left out.
            if not each.name or each.name not in scope:
                what = each.name or f"output {place} of graph {proto.name}"
                raise broken(what, "nothing in the graph makes this output")
        return Graph(
            nodes=nodes,
            constants=constants,
            inputs=tuple(inputs),
            outputs=tuple(scope[each.name] for each in proto.output),
        )

    def _nodes(self, proto: onnx.GraphProto, prefix: str, scope: Scope) -> Iterator[Node]:
        taken: set[str] = set()
        for index, each in enumerate(proto.node):
            name = each.name or f"{each.op_type}_{index}"
            if name in taken:
                name = f"{name}#{index}"
            taken.add(name)
            yield self._node(each, f"{prefix}{name}", scope)

    def _node(self, proto: onnx.NodeProto, name: str, scope: Scope) -> Node:
        for read in proto.input:
            if read not in scope:
                raise broken(name, f"its input {read!r} is made by nothing before it")
        schema = self._schema(proto, name)
        _check_arity(proto, schema, name)
        attributes: dict[str, Any] = {}
        for key, declared in schema.attributes.items():
            if declared.default_value.name:
                attributes[key] = self._attribute(declared.default_value, name, scope)
        for given in proto.attribute:
            _check_kind(given, schema.attributes.get(given.name), name)
            attributes[given.name] = self._attribute(given, name, scope)
        for key, declared in schema.attributes.items():
            if declared.required and key not in attributes:
                raise broken(name, f"its attribute {key!r} is missing")
        return Node(
            name=name,
            operator=proto.op_type,
            version=schema.since_version,
            inputs=tuple(scope[each] for each in _trimmed(proto.input)),
            outputs=tuple(scope.add(each) for each in proto.output),
            attributes=attributes,
        )

    def _schema(self, proto: onnx.NodeProto, name: str) -> Any:
        if proto.domain not in _DEFAULT_DOMAINS:
            why = f"its domain {proto.domain!r} is not the standard one"
            raise unsupported(name, proto.op_type, why)
        try:
            return onnx.defs.get_schema(proto.op_type, self._opset, "")
        except onnx.defs.SchemaError as error:
            why = f"operator set {self._opset} has no such operator"
            raise unsupported(name, proto.op_type, why) from error

    def _attribute(self, proto: onnx.AttributeProto, node: str, scope: Scope) -> Any:
        if proto.type == onnx.AttributeProto.GRAPH:
            return self.graph(proto.g, f"{node}/", scope.inside(f"{node}/"))
        try:
            value = onnx.helper.get_attribute_value(proto)
        except ValueError as error:
            raise broken(node, f"its attribute {proto.name!r} has no value") from error
        if isinstance(value, TensorProto):
            return self._array(value, f"{node}.{proto.name}")
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [
                each.decode("utf-8", "replace") if isinstance(each, bytes) else each
                for each in value
            ]
        return value

    def _array(self, proto: TensorProto, name: str) -> NDArray[Any]:
        element_type(proto.data_type, name)
        try:
            array = numpy_helper.to_array(proto, base_dir=str(self._folder))
        except (ValueError, TypeError, OSError, onnx.checker.ValidationError) as error:
            files = [entry.value for entry in proto.external_data if entry.key == "location"]
            where = f" from {files[0]!r}" if files else ""
            why = f"its values can't be read{where} ({first_words(error)})"
            raise broken(name, why) from error
        return np.ascontiguousarray(array).reshape(array.shape)


def _check_arity(proto: onnx.NodeProto, schema: Any, node: str) -> None:
    """Refuses more or fewer inputs than the operator has; those at the end may be left out."""
    given, least, most = len(_trimmed(proto.input)), schema.min_input, schema.max_input
    if not least <= len(proto.input) or given > most:
        raise broken(node, f"it has {given} inputs; {proto.op_type} takes {least} to {most}")


def _check_kind(given: onnx.AttributeProto, declared: Any, node: str) -> None:
    """Refuses a value of another type than the operator's schema says."""
    if declared is not None and int(declared.type.value) != given.type:
        kinds = {number: text for text, number in onnx.AttributeProto.AttributeType.items()}
        why = f"its attribute {given.name!r} is of type {kinds.get(given.type, given.type)}"
        raise broken(node, why)


def _trimmed(names: Sequence[str]) -> tuple[str, ...]:
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)


def _given_names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (each.name for each in (*graph.input, *graph.initializer))
    for node in graph.node:
        yield from node.output


def _declared(value: onnx.ValueInfoProto) -> DeclaredTensor:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "untyped"
        raise unsupported(value.name, kind, "inputs and outputs must be tensors")
    tensor = value.type.tensor_type
    shape = tuple(_declared_axis(axis) for axis in tensor.shape.dim)
    return DeclaredTensor(
        name=value.name, dtype=element_type(tensor.elem_type, value.name), shape=shape
    )


def _declared_axis(axis: onnx.TensorShapeProto.Dimension) -> int | str:
    if axis.HasField("dim_value"):
        return int(axis.dim_value) if axis.dim_value > 0 else "?"
    return axis.dim_param or "?"


_DTYPES = {
    TensorProto.FLOAT: DType.FLOAT32,
    TensorProto.FLOAT16: DType.FLOAT16,
    TensorProto.DOUBLE: DType.FLOAT64,
    TensorProto.INT8: DType.INT8,
    TensorProto.INT16: DType.INT16,
    TensorProto.INT32: DType.INT32,
    TensorProto.INT64: DType.INT64,
    TensorProto.UINT8: DType.UINT8,
    TensorProto.UINT16: DType.UINT16,
    TensorProto.UINT32: DType.UINT32,
    TensorProto.UINT64: DType.UINT64,
    TensorProto.BOOL: DType.BOOL,
}


def element_type(code: int, name: str) -> DType:
    """The element type of an ONNX code.

    Raises:
        EdgeconvError: OPERATOR_UNSUPPORTED for strings, complex numbers, bfloat16 and
            types below 8 bits.
    """
    if code not in _DTYPES:
        known = {number: text for text, number in TensorProto.DataType.items()}
        why = f"its element type {known.get(code, code)} is not supported"
        raise unsupported(name, "tensor", why, "Export the model with float32 and integers.")
    return _DTYPES[code]
