"""Changes to the nodes of an ONNX graph: operators, attributes, edges, nesting, growth."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper

from fuzzing.odd_values import FLOATS, integer, small, text
from fuzzing.onnx_changes import Change, graphs, nodes
from fuzzing.wire_changes import varint

_OPERATORS = sorted({schema.name for schema in onnx.defs.get_all_schemas()})
_BIG = ([2**40], [2**20, 2**20], [2**31], [2**15, 2**15, 4], [2**62, 2], [-1], [2**63 - 1])


def operator(model: Any, random: Random) -> str:
    """Another operator in a node's place."""
    node = random.choice(nodes(model))
    old, node.op_type = node.op_type, random.choice(_OPERATORS)
    if random.random() < 0.1:
        node.domain = random.choice(("ai.onnx.ml", "com.microsoft", "mine", text(random)))
    return f"{old} becomes {node.op_type}"


def attribute_value(model: Any, random: Random) -> str:
    """Another value of an attribute."""
    given = [each for node in nodes(model) for each in node.attribute]
    if not given:
        return "nothing"
    each = random.choice(given)
    number = integer(random) if random.random() < 0.5 else small(random)
    if each.type == AttributeProto.INT:
        each.i = number
    elif each.type == AttributeProto.FLOAT:
        each.f = random.choice(FLOATS)
    elif each.type == AttributeProto.STRING:
        each.s = random.choice((text(random).encode("utf-8", "surrogatepass"), b"\xff\xfe"))
    elif each.ints and random.random() < 0.6:
        each.ints[random.randrange(len(each.ints))] = number
    else:
        del each.ints[:]
        each.ints.extend([number] * random.choice((0, 1, 5, 64, 5000)))
    return f"attribute {each.name!r} has another value"


def attribute_type(model: Any, random: Random) -> str:
    """An attribute that says it is of another type, or is another one's value."""
    given = [each for node in nodes(model) for each in node.attribute]
    if not given:
        return "nothing"
    each = random.choice(given)
    way = random.randrange(4)
    if way == 0:
        each.type = random.randrange(15)
    elif way == 1:
        name = each.name
        each.CopyFrom(random.choice(given))
        each.name = name
    elif way == 2:
        each.name = text(random)
    else:
        each.ref_attr_name = text(random)
    return f"attribute {each.name[:40]!r} is of another type ({way})"


def attribute_set(model: Any, random: Random) -> str:
    """An attribute too many, twice, or too few."""
    node = random.choice(nodes(model))
    if node.attribute and random.random() < 0.5:
        del node.attribute[random.randrange(len(node.attribute))]
    elif node.attribute and random.random() < 0.5:
        node.attribute.add().CopyFrom(random.choice(node.attribute))
    else:
        name = random.choice(("axis", "axes", "perm", "to", "pads", "mode", text(random)))
        value = random.choice((integer(random), small(random), 1.5, "x", [small(random)] * 2))
        node.attribute.append(helper.make_attribute(name, value))
    return f"other attributes of {node.op_type}"


def edge(model: Any, random: Random) -> str:
    """A node that reads another tensor, its own output or a later one among them."""
    node = random.choice(nodes(model))
    known = [name for each in nodes(model) for name in (*each.input, *each.output)]
    name = random.choice((*known, "", "nowhere", text(random)))
    way = random.randrange(4)
    if way == 0 or not node.input:
        node.input.append(name)
    elif way == 1:
        del node.input[random.randrange(len(node.input))]
    else:
        node.input[random.randrange(len(node.input))] = name
    return f"{node.op_type} reads {name[:40]!r} ({way})"


def made_name(model: Any, random: Random) -> str:
    """A node that makes another tensor, or one that is made already."""
    node = random.choice(nodes(model))
    known = [name for each in nodes(model) for name in (*each.input, *each.output)]
    way = random.randrange(4)
    if way == 0 or not node.output:
        node.output.append(random.choice((*known, "more", "")))
    elif way == 1:
        del node.output[random.randrange(len(node.output))]
    else:
        node.output[random.randrange(len(node.output))] = random.choice((*known, text(random)))
    return f"{node.op_type} makes other tensors ({way})"


def order(model: Any, random: Random) -> str:
    """Nodes that are missing, twice there, in another order, or without end."""
    graph = random.choice([each for each in graphs(model) if each.node])
    way = random.randrange(4)
    kept = list(graph.node)
    if way == 0:
        del kept[random.randrange(len(kept))]
    elif way == 1:
        kept.insert(random.randrange(len(kept)), random.choice(kept))
    elif way == 2:
        random.shuffle(kept)
    else:
        kept[random.randrange(len(kept))].name = text(random)
    copies = [onnx.NodeProto.FromString(each.SerializeToString()) for each in kept]
    del graph.node[:]
    graph.node.extend(copies)
    return f"other nodes ({way})"


def growth(model: Any, random: Random) -> str:
    """A node of a few bytes that makes a tensor without measure, out of constants or not."""
    shape = numpy_helper.from_array(np.array(random.choice(_BIG)), "big")
    model.graph.initializer.append(shape)
    kind = random.choice(("ConstantOfShape", "Expand", "Tile", "Range", "OneHot", "Pad", "Resize"))
    numbers = {
        "zero": np.int64(0), "huge": np.int64(2**40), "step": np.int64(1),
        "ends": np.array([0, 2**38]), "row": np.array([0]), "on": np.array([0, 1]),
        "scales": np.array([1e9], np.float32), "floats": np.ones(1, np.float32),
    }  # fmt: skip
    given = {
        "ConstantOfShape": ["big"], "Expand": ["row", "big"], "Tile": ["row", "big"],
        "Range": ["zero", "huge", "step"], "OneHot": ["row", "huge", "on"],
        "Pad": ["row", "ends"], "Resize": ["floats", "", "scales"],
    }[kind]  # fmt: skip
    for name in given:
        if name in numbers:
            model.graph.initializer.append(numpy_helper.from_array(numbers[name], name))
    model.graph.node.insert(0, helper.make_node(kind, given, ["bomb"]))
    if random.random() < 0.7:
        model.graph.node.append(helper.make_node("ReduceSum", ["bomb"], ["sum"], keepdims=0))
        model.graph.output.append(helper.make_tensor_value_info("sum", 1, []))
    return f"{kind} grows without measure"


def functions(model: Any, random: Random) -> str:
    """Functions that call themselves, each other, or twice the next one, 12 to 40 deep."""
    way = random.randrange(3)
    depth = 1 if way == 0 else random.choice((2, 12, 22, 40))
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("loop", 1)]
    for level in range(depth):
        after = (level + 1) % depth
        last = way == 2 and after == 0
        calls = 1 if way < 2 else 2
        names = ["a", *(f"m{each}" for each in range(calls - 1)), "b"]
        body = [
            helper.make_node("Relu" if last else f"F{after}", [names[each]], [names[each + 1]],
                             domain="" if last else "loop")
            for each in range(calls)
        ]  # fmt: skip
        model.functions.append(
            helper.make_function("loop", f"F{level}", ["a"], ["b"], body, versions)
        )
    model.opset_import.add(domain="loop", version=1)
    read = model.graph.input[0].name if model.graph.input else "x"
    model.graph.node.append(helper.make_node("F0", [read], ["looped"], domain="loop"))
    model.graph.output.append(helper.make_tensor_value_info("looped", 1, None))
    return f"functions that call each other ({way}, {depth} deep)"


def loop(model: Any, random: Random) -> str:
    """A loop over nothing that has no end in sight."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["w"])],
        "body",
        [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("go", 9, []),
         helper.make_tensor_value_info("v", 7, [])],
        [helper.make_tensor_value_info("on", 9, []), helper.make_tensor_value_info("w", 7, [])],
    )  # fmt: skip
    trips = numpy_helper.from_array(np.int64(random.choice((10**6, 2**62, -1))), "trips")
    start = numpy_helper.from_array(np.int64(1), "v0")
    model.graph.initializer.extend([trips, start])
    model.graph.node.append(helper.make_node("Loop", ["trips", "", "v0"], ["end"], body=body))
    model.graph.output.append(helper.make_tensor_value_info("end", 7, []))
    return "a loop without end"


CHANGES: tuple[Change, ...] = (
    operator, operator, operator, attribute_value, attribute_value, attribute_type, attribute_set,
    edge, edge, made_name, order, growth, growth, functions, loop,
)  # fmt: skip


def deep(random: Random) -> tuple[bytes, str]:
    """A model whose subgraphs lie in each other, deeper than a message can be written."""
    depth = random.choice((20, 45, 60, 98, 150, 2000))
    leaf = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g", [], [helper.make_tensor_value_info("y", 1, [1])],
    )  # fmt: skip
    graph: bytes = leaf.SerializeToString()
    declared: bytes = leaf.output[0].SerializeToString()
    for _ in range(depth):
        branches = b"".join(
            _field(5, _field(1, name) + _field(6, inner) + b"\xa0\x01\x05")
            for name, inner in ((b"then_branch", graph), (b"else_branch", leaf.SerializeToString()))
        )
        node = _field(1, b"flag") + _field(2, b"y") + _field(4, b"If") + branches
        graph = _field(1, node) + _field(2, b"g") + _field(12, declared)
    flag: bytes = numpy_helper.from_array(np.array(True), "flag").SerializeToString()
    given: bytes = helper.make_tensor_value_info("x", 1, [1]).SerializeToString()
    graph += _field(5, flag) + _field(11, given)
    opsets: bytes = helper.make_opsetid("", 17).SerializeToString()
    return b"\x08\x08" + _field(7, graph) + _field(8, opsets), f"subgraphs {depth} deep"


def _field(number: int, content: bytes) -> bytes:
    """A field of a message, length-delimited."""
    return varint(number << 3 | 2) + varint(len(content)) + content
