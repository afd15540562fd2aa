"""Nodes that fit their operator's schema: right in number and types, odd in their values."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgeconv.conversion.intake.onnx import operators
from edgeconv.conversion.intake.onnx.call import HANDLERS
from fuzzing.odd_values import FLOATS, integer, small, text

_WORDS = (
    "constant", "reflect", "edge", "wrap", "linear", "nearest", "cubic", "bilinear", "SAME_UPPER",
    "SAME_LOWER", "VALID", "NOTSET", "DCR", "CRD", "forward", "reverse", "bidirectional", "none",
    "add", "mul", "max", "tanh", "half_pixel", "asymmetric", "align_corners", "floor", "ij,jk->ik",
    "...i->...", "ij->", "ii->i", "i,j->ij", "a" * 60 + "->a", "->", "ij,jk",
)  # fmt: skip
_ARRAYS = {
    "tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
    "tensor(float16)": np.float16,
}  # fmt: skip
_SHAPES = ((), (1,), (0,), (4,), (2, 4), (1, 1, 4, 4), (1, 2, 4, 4), (1, 3, 5), (1, 1, 2, 4, 4))
_KINDS = onnx.AttributeProto.AttributeType


@cache
def _schemas(version: int) -> tuple[Any, ...]:
    """What edgeconv can compute, in a version of the operator set."""
    operators.load()
    found = []
    for name in sorted(HANDLERS):
        try:
            found.append(onnx.defs.get_schema(name, version, ""))
        except onnx.defs.SchemaError:
            continue
    return tuple(found)


def fitting_node(model: Any, random: Random) -> str:
    """A node of an operator that can be computed, on tensors of the model and constants."""
    versions = [each.version for each in model.opset_import if each.domain == ""]
    schemas = _schemas(versions[0]) if versions and 7 <= versions[0] <= 28 else ()
    schema = random.choice(schemas or _schemas(17))
    place = len(model.graph.node)
    types = {each.type_param_str: each.allowed_type_strs for each in schema.type_constraints}
    inputs = [
        name
        for formal in schema.inputs
        for name in _given(model, formal, types.get(formal.type_str, (formal.type_str,)), random)
    ]
    outputs = [f"made{place}_{each}" for each in range(max(1, schema.min_output))]
    node = helper.make_node(schema.name, inputs, outputs, name=f"fits{place}")
    for name in sorted(schema.attributes):
        declared = schema.attributes[name]
        if declared.required or random.random() < 0.4:
            node.attribute.extend(_attribute(name, declared, random))
    model.graph.node.append(node)
    model.graph.output.append(onnx.ValueInfoProto(name=outputs[0]))
    model.graph.output[-1].type.tensor_type.elem_type = random.choice((1, 1, 7, 9))
    return f"{schema.name} reads {inputs}"


def chain(model: Any, random: Random) -> str:
    """Several such nodes, each on what the others made."""
    return " → ".join(fitting_node(model, random) for _ in range(random.randrange(2, 6)))


def _given(model: Any, formal: Any, types: Any, random: Random) -> list[str]:
    """Names for one formal input: none when it is left out, several when it is a list."""
    kind = onnx.defs.OpSchema.FormalParameterOption
    if formal.option == kind.Optional and random.random() < 0.5:
        return [""]
    count = random.randrange(1, 4) if formal.option == kind.Variadic else 1
    return [_one(model, types, random) for _ in range(count)]


def _one(model: Any, types: Any, random: Random) -> str:
    computed = [each.name for each in model.graph.input]
    computed += [name for node in model.graph.node for name in node.output if name]
    if computed and random.random() < 0.5:
        return str(random.choice(computed[-12:]))
    known = [each for each in sorted(types) if each in _ARRAYS] or ["tensor(float)"]
    dtype = _ARRAYS["tensor(float)" if "tensor(float)" in known else random.choice(known)]
    name = f"given{len(model.graph.initializer)}"
    array = _array(random.choice(_SHAPES), dtype, random)
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def _array(shape: tuple[int, ...], dtype: Any, random: Random) -> Any:
    array = np.zeros(shape, dtype)
    for place in range(array.size):
        if dtype in (np.float32, np.float16):
            odd = random.random() < 0.1
            array.flat[place] = random.choice(FLOATS[:3] + FLOATS[5:]) if odd else random.random()
        elif dtype is np.int64 and random.random() < 0.15:
            array.flat[place] = integer(random)
        else:
            array.flat[place] = abs(small(random)) % 2 if dtype is np.bool_ else random.randrange(5)
    return array


def _attribute(name: str, declared: Any, random: Random) -> list[Any]:
    kind = int(declared.type.value)
    number = integer(random) if random.random() < 0.2 else small(random)
    value: Any
    if kind == _KINDS.Value("INT"):
        value = number
    elif kind == _KINDS.Value("FLOAT"):
        value = random.choice((0.5, 1.0, -1.0, *FLOATS))
    elif kind == _KINDS.Value("STRING"):
        value = random.choice(_WORDS) if random.random() < 0.9 else text(random)
    elif kind == _KINDS.Value("INTS"):
        value = [number] * random.choice((1, 2, 2, 4, 4, 8))
    elif kind == _KINDS.Value("FLOATS"):
        value = [random.choice(FLOATS), 0.5]
    elif kind == _KINDS.Value("STRINGS"):
        value = [random.choice(("Tanh", "Sigmoid", "Relu", "Affine", "HardSigmoid"))] * 3
    elif kind == _KINDS.Value("TENSOR"):
        value = numpy_helper.from_array(np.ones(random.choice(_SHAPES), np.float32), name)
    else:
        return []
    return [helper.make_attribute(name, value, attr_type=kind)]


CHANGES = (fitting_node, fitting_node, fitting_node, chain, chain)
