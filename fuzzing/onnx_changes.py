"""Changes to the fields of an ONNX message: tensors, interface, names, versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from fuzzing.odd_values import FLOATS, integer, small, text

Change = Callable[[Any, Random], str]

_CODES = (*range(0, 28), 99, -1, 2**31 - 1)
_PLACES = (
    "/etc/passwd", "../secret", "..", ".", "", "sub/data", "C:\\data", "model.onnx",
    "model.onnx.data", "/proc/self/environ", "/dev/zero", "a\0b", "absent",
)  # fmt: skip
_NUMBERS = ("0", "1", "-1", str(2**63 - 1), str(2**64), "9" * 4400, "1e9", "0x10", " 8", "", "nan")


def graphs(model: Any) -> Iterator[Any]:
    """The main graph and all below it."""
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            pending.extend(each.g for each in node.attribute if each.HasField("g"))


def nodes(model: Any) -> list[Any]:
    """All nodes, those of functions among them."""
    own = [node for graph in graphs(model) for node in graph.node]
    return own + [node for function in model.functions for node in function.node]


def _tensors(model: Any) -> list[Any]:
    held = [each for graph in graphs(model) for each in graph.initializer]
    given = (each for node in nodes(model) for each in node.attribute)
    return held + [each.t for each in given if each.HasField("t")]


def _tensor(model: Any, random: Random) -> Any:
    return random.choice(_tensors(model) or [model.graph.initializer.add(name="k")])


def dimension(model: Any, random: Random) -> str:
    """Another size for an axis of a tensor."""
    tensor = _tensor(model, random)
    size = integer(random)
    if tensor.dims and random.random() < 0.8:
        tensor.dims[random.randrange(len(tensor.dims))] = size
    else:
        tensor.dims.extend([size] * random.choice((1, 1, 3, 70, 1000)))
    return f"tensor {tensor.name!r} has an axis of {size}"


def element_type(model: Any, random: Random) -> str:
    """Another code for the elements of a tensor."""
    tensor = _tensor(model, random)
    tensor.data_type = random.choice(_CODES)
    return f"tensor {tensor.name!r} has elements {tensor.data_type}"


def content(model: Any, random: Random) -> str:
    """Bytes of a tensor that are too few, too many, or in a field of another type."""
    tensor = _tensor(model, random)
    raw = tensor.raw_data
    way = random.randrange(5)
    if way == 0:
        tensor.raw_data = raw[: random.randrange(len(raw) + 1)]
    elif way == 1:
        tensor.raw_data = raw + random.randbytes(random.randrange(1, 9))
    elif way == 2:
        tensor.ClearField("raw_data")
    elif way == 3:
        tensor.ClearField("raw_data")
        field = random.choice(("float_data", "int32_data", "int64_data", "string_data"))
        getattr(tensor, field).append(b"x" if field == "string_data" else 1)
    else:
        tensor.float_data.extend(FLOATS)
    return f"tensor {tensor.name!r} has other content ({way})"


def odd_numbers(model: Any, random: Random) -> str:
    """A tensor of the same shape with numbers from the edge."""
    tensor = _tensor(model, random)
    if tensor.data_location == TensorProto.EXTERNAL:
        return "nothing"
    try:
        array = numpy_helper.to_array(tensor).copy()
    except (ValueError, TypeError, KeyError, AttributeError):
        return "nothing"
    for place in range(min(array.size, 40)):
        if array.dtype.kind == "f":
            array.flat[place] = random.choice(FLOATS)
        elif array.dtype.kind == "i" and array.dtype.itemsize == 8:
            array.flat[place] = integer(random) if random.random() < 0.6 else small(random)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return f"tensor {tensor.name!r} holds odd numbers"


def outside(model: Any, random: Random) -> str:
    """A tensor whose data lie in another file."""
    tensor = _tensor(model, random)
    tensor.data_location = TensorProto.EXTERNAL
    entries = [("location", random.choice(_PLACES))]
    keys = [key for key in ("offset", "length") if random.random() < 0.6]
    entries += [(key, random.choice(_NUMBERS)) for key in keys]
    if random.random() < 0.2:
        entries.append(("location", random.choice(_PLACES)))
    del tensor.external_data[:]
    for key, value in entries:
        tensor.external_data.add(key=key, value=value)
    return f"tensor {tensor.name!r} lies in {entries}"


def sparse(model: Any, random: Random) -> str:
    """A sparse tensor whose indices may lie outside."""
    values = numpy_helper.from_array(np.ones(3, np.float32), "sparse")
    indices = numpy_helper.from_array(np.array([integer(random) for _ in range(3)]), "at")
    made = helper.make_sparse_tensor(values, indices, [integer(random)])
    if random.random() < 0.5:
        model.graph.sparse_initializer.append(made)
    else:
        node = model.graph.node.add(op_type="Constant", output=["sparse"])
        node.attribute.append(helper.make_attribute("sparse_value", made))
    return "a sparse tensor"


def _values(model: Any) -> list[Any]:
    return [each for graph in graphs(model) for each in (*graph.input, *graph.output)]


def declared_shape(model: Any, random: Random) -> str:
    """Another declared axis of an input or output."""
    value = random.choice(_values(model))
    shape = value.type.tensor_type.shape
    if not shape.dim or random.random() < 0.2:
        for _ in range(random.choice((1, 2, 70, 2000))):
            shape.dim.add(dim_value=random.choice((1, 1, 2, integer(random))))
    axis = random.choice(shape.dim)
    if random.random() < 0.7:
        axis.dim_value = integer(random) if random.random() < 0.7 else small(random)
    else:
        axis.dim_param = text(random)
    return f"{value.name!r} is declared with other axes"


def declared_type(model: Any, random: Random) -> str:
    """Another type of an input or output."""
    value = random.choice(_values(model))
    way = random.randrange(4)
    if way == 0:
        value.ClearField("type")
    elif way == 1:
        value.type.sequence_type.elem_type.tensor_type.elem_type = 1
    elif way == 2:
        value.type.tensor_type.elem_type = random.choice(_CODES)
    else:
        value.type.map_type.key_type = random.choice(_CODES)
    return f"{value.name!r} is declared with another type ({way})"


def interface(model: Any, random: Random) -> str:
    """Inputs and outputs that are missing, twice there, or of the other kind."""
    graph = random.choice(list(graphs(model)))
    field = random.choice(("input", "output"))
    values = getattr(graph, field)
    way = random.randrange(4)
    if way == 0 and values:
        del values[random.randrange(len(values))]
    elif way == 1 and values:
        values.add().CopyFrom(random.choice(values))
    elif way == 2:
        values.add().CopyFrom(random.choice(_values(model)))
    else:
        values.add(name=text(random))
    return f"other {field}s ({way})"


def rename(model: Any, random: Random) -> str:
    """One name of the interface, wherever it stands, becomes an odd one."""
    value = random.choice(_values(model))
    old, new = value.name, text(random)
    value.name = new
    for node in nodes(model):
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    return f"{old!r} is called {new[:40]!r}"


def opset(model: Any, random: Random) -> str:
    """Another operator set."""
    way = random.randrange(4)
    version = integer(random) if random.random() < 0.4 else random.randrange(5, 27)
    if way == 0:
        del model.opset_import[:]
    elif way == 1:
        model.opset_import.add(domain=random.choice(("", "ai.onnx.ml", text(random))),
                               version=version)  # fmt: skip
    else:
        model.opset_import[0].version = version
    return f"operator set {version} ({way})"


def heading(model: Any, random: Random) -> str:
    """Other fields that describe the model."""
    model.ir_version = random.choice((0, 3, 8, 99, integer(random)))
    model.producer_name, model.graph.name = text(random), text(random)
    model.graph.doc_string = text(random)
    model.metadata_props.add(key=text(random), value=text(random))
    return "another heading"


CHANGES: tuple[Change, ...] = (
    dimension, dimension, element_type, content, odd_numbers, odd_numbers, outside, outside, sparse,
    declared_shape, declared_shape, declared_type, interface, rename, rename, opset, heading,
)  # fmt: skip
