"""Changes to the JSON of a saved program: graph, symbols, shapes, types, tables of tensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from fuzzing.odd_values import FLOATS, integer, small, text
from fuzzing.program_seeds import CONSTANTS, MODEL, WEIGHTS, Members

Change = Callable[[Any, Random], str]

_TARGETS = (
    *(f"torch.ops.aten.{name}" for name in (
        "relu.default", "add.Tensor", "view.default", "expand.default", "cat.default",
        "embedding.default", "slice.Tensor", "empty.memory_format", "zeros.default",
        "full.default", "arange.start_step", "repeat.default", "resize_.default",
        "set_.source_Tensor", "as_strided.default", "as_strided_.default", "rand.default",
        "dropout.default",
        "from_file.default", "_print.default", "native_batch_norm.default", "item.default",
        "_local_scalar_dense.default", "nonzero.default", "sym_size.int", "index_put_.default",
        "linear.default", "conv2d.default", "lstm.input", "split.Tensor", "unbind.int",
        "scaled_dot_product_attention.default", "_assert_async.msg", "sym_constrain_range.default",
        "quantize_per_tensor.default", "_fft_c2c.default", "nothing.default", "relu.nothing",
    )),
    "torch.ops.higher_order.cond", "torch.ops.higher_order.while_loop",
    "torch.ops.higher_order.wrap_with_set_grad_enabled", "torch.ops.higher_order.map_impl",
    "_operator.getitem", "_operator.pow", "_operator.attrgetter", "math.ceil", "torch.sym_max",
    "torch.load", "builtins.eval", "os.system", "",
)  # fmt: skip
_ENUM = '{"__enum__": true, "fqn": "ctypes:cdll", "name": "libnowhere.so"}'
_ESCAPED = _ENUM.replace("__enum__", "\\u005f_enum__")
_CONTEXTS = (
    f"[{_ENUM}]",
    f"[{_ESCAPED}]",
    _ESCAPED,
    f"[[{_ESCAPED}]]",
    f'[{{"a": {_ESCAPED}}}]',
    _ESCAPED.replace('"fqn"', '"fqn": "os", "fqn"'),
    "[NaN]",
    "[Infinity]",
    "[1e999]",
    "[null]",
    '["a", "a"]',
    "[\"x':print(1),'\"]",
    "[" * 200 + "]" * 200,
    "[" * 5000,
    "null",
    "",
    "{}",
    '{"a": 1, "a": 2}',
    '"\\ud800"',
)
_NAMES = (
    "x=print(1)",
    "x\n  y",
    "a;b",
    'a"',
    "a'",
    "a\\",
    "lambda",
    "self",
    "torch",
    "__class__",
    "a.__class__.b",
    "",
    "x" * 5000,
    "\uff58",
    "1",
    "a b",
    "#",
)
_EXPRESSIONS = (
    "Symbol('s77', integer=True)", "s77", "s1000000", "u0", "Integer(9223372036854775807)",
    "Pow(Symbol('s77'), 8)", "8**8**8", "s77**8**8**8", "Mod(s77, 0)", "FloorDiv(s77, 0)",
    "Max(s77)", "Float('nan')", "oo", "int_oo", "-int_oo", "1/0", "s77 - s77", "Integer()",
    "__import__('os').system('true')", "().__class__", "lambda: 0", "Piecewise((1, s77 > 2))",
    "Add(" * 60 + "s77" + ", 1)" * 60, "-" * 1500 + "s77", "(" * 150 + "s77" + ")" * 150,
    "(not\ns77)", "Symbol('s7\\\n7')", "s77 # oo",
    "s77*" * 400 + "s77", "Max(" + "s77," * 300 + "s1)", "\ud800",
)  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of everything in a JSON value."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, dict | list):
            for key in list(each) if isinstance(each, dict) else range(len(each)):
                yield each, key
                pending.append(each[key])


def _with_key(value: Any, *keys: str) -> list[tuple[Any, Any]]:
    return [(holder, key) for holder, key in _places(value) if key in keys]


def _odd(random: Random) -> Any:
    return random.choice((
        None, True, integer(random), small(random), 2**70, random.choice(FLOATS), text(random), [],
        {}, [[]], [None], {"as_int": integer(random)}, {"as_none": True},
        {"as_tensor": {"name": "x"}}, {"as_name": text(random)}, {"as_float": "NaN"}, "\ud800",
    ))  # fmt: skip


def leaf(model: Any, random: Random) -> str:
    """Any value becomes an odd one."""
    holder, key = random.choice(list(_places(model)))
    holder[key] = _odd(random)
    return f"{key!r} becomes {str(holder[key])[:40]!r}"


def number(model: Any, random: Random) -> str:
    """A number becomes another."""
    found = [(h, k) for h, k in _places(model) if type(h[k]) is int]
    if not found:
        return "nothing"
    holder, key = random.choice(found)
    holder[key] = integer(random) if random.random() < 0.5 else small(random)
    return f"{key!r} becomes {holder[key]}"


def entry(model: Any, random: Random) -> str:
    """Any entry is taken away, or written twice."""
    holder, key = random.choice(list(_places(model)))
    if isinstance(holder, list) and random.random() < 0.5:
        holder.append(json.loads(json.dumps(holder[key])))
        return "an entry is there twice"
    del holder[key]
    return f"{key!r} is gone"


def exchange(model: Any, random: Random) -> str:
    """Two values change places."""
    first, second = random.choice(list(_places(model))), random.choice(list(_places(model)))
    copies = [json.loads(json.dumps(holder[key])) for holder, key in (first, second)]
    first[0][first[1]], second[0][second[1]] = copies[1], copies[0]
    return f"{first[1]!r} and {second[1]!r} change places"


def target(model: Any, random: Random) -> str:
    """A node calls another operator."""
    node = random.choice(model["graph_module"]["graph"]["nodes"])
    node["target"] = random.choice(_TARGETS)
    return f"{node['name']} calls {node['target']}"


def edges(model: Any, random: Random) -> str:
    """Nodes in another order, missing or twice there, or reading other tensors."""
    graph = model["graph_module"]["graph"]
    way = random.randrange(4)
    if way == 0:
        random.shuffle(graph["nodes"])
    elif way == 1:
        del graph["nodes"][random.randrange(len(graph["nodes"]))]
    elif way == 2:
        graph["nodes"].append(json.loads(json.dumps(random.choice(graph["nodes"]))))
    else:
        names = [holder for holder, _ in _with_key(graph["nodes"], "name") if len(holder) == 1]
        if names:
            random.choice(names)["name"] = random.choice((*names, {"name": text(random)}))["name"]
    return f"other nodes ({way})"


def argument(model: Any, random: Random) -> str:
    """An argument of a node becomes one of another kind."""
    node = random.choice([each for each in model["graph_module"]["graph"]["nodes"]
                          if each["inputs"]])  # fmt: skip
    given = random.choice(node["inputs"])
    whole = json.loads(json.dumps(model["graph_module"]["graph"]))
    given["arg"] = random.choice((
        {"as_int": integer(random)}, {"as_ints": [integer(random)] * 3}, {"as_none": True},
        {"as_float": random.choice(FLOATS)}, {"as_string": text(random)}, {"as_bool": True},
        {"as_tensors": []}, {"as_scalar_type": integer(random)}, {"as_device": {"type": "cuda"}},
        {"as_graph": {"name": "g", "graph": whole}},
        {"as_custom_obj": {"name": "o", "class_fqn": "c"}}, {"as_operator": "os.system"},
        {"as_tensor": {"name": random.choice(("x", "nowhere", text(random)))}},
        {"as_sym_int": {"as_name": "s77"}}, {"as_layout": 99}, {}, {"as_nothing": 1},
    ))  # fmt: skip
    return f"argument {given.get('name')!r} of {node['name']} is of another kind"


def tensor(model: Any, random: Random) -> str:
    """Sizes, strides, offset or type of a tensor in the graph become others."""
    values = model["graph_module"]["graph"]["tensor_values"]
    name = random.choice(list(values))
    _spoil(values[name], random)
    return f"{name!r} is declared otherwise"


def _spoil(meta: Any, random: Random) -> None:
    key = random.choice(("sizes", "strides", "storage_offset", "dtype", "layout", "device"))
    number = integer(random) if random.random() < 0.6 else small(random)
    if key in ("sizes", "strides"):
        places = meta[key]
        if not places or random.random() < 0.3:
            places.extend([{"as_int": number}] * random.choice((1, 1, 70)))
        else:
            places[random.randrange(len(places))] = {"as_int": number}
    elif key == "storage_offset":
        meta[key] = {"as_int": number}
    elif key == "device":
        meta[key] = random.choice(({"type": "cuda", "index": 0}, {"type": "meta", "index": None},
                                   {"type": text(random), "index": number}))  # fmt: skip
    else:
        meta[key] = random.choice((*range(0, 35), number))


def symbol(model: Any, random: Random) -> str:
    """A symbolic size is another expression, or has other bounds."""
    found = _with_key(model, "expr_str", "range_constraints", "min_val", "max_val", "hint")
    if not found:
        return leaf(model, random)
    holder, key = random.choice(found)
    if key == "expr_str":
        holder[key] = random.choice(_EXPRESSIONS)
    elif key == "range_constraints":
        holder[key] = random.choice(({}, {"s77": {"min_val": 9, "max_val": 1}}, {text(random): {}}))
    else:
        holder[key] = random.choice((None, integer(random), {"as_int": integer(random)}))
    return f"{key} becomes {str(holder[key])[:40]!r}"


def signature(model: Any, random: Random) -> str:
    """The signature of the program or its structure of inputs and outputs is another."""
    way = random.randrange(3)
    if way == 0:
        found = _with_key(model, "in_spec", "out_spec")
        holder, key = random.choice(found)
        holder[key] = random.choice((
            "", "[]", "[1, null]", "[" * 5000, "null", text(random), '"x"', "[1, {}]",
            '[1, {"type": "builtins.tuple", "context": "null", "children_spec": []}]',
            '[1, {"type": "os.system", "context": "null", "children_spec": []}]',
            '[99, {"type": null, "context": null, "children_spec": []}]',
            '[1, {"type": "collections.namedtuple", "context": "\\"x\\"", "children_spec": []}]',
            '[1, {"type": "builtins.dict", "context": "[[]]", "children_spec": []}]',
        ))  # fmt: skip
        return f"{key} becomes {holder[key][:40]!r}"
    whole = model["graph_module"]["signature"]
    specs = whole[random.choice(("input_specs", "output_specs"))]
    if way == 1 and specs:
        random.shuffle(specs)
        return "another order of the signature"
    holder, key = random.choice(list(_places(whole)))
    holder[key] = _odd(random)
    return f"{key!r} of the signature becomes {str(holder[key])[:40]!r}"


def structure(model: Any, random: Random) -> str:
    """A node of a structure says something of its own, which torch parses once more."""
    found = _with_key(model, "in_spec", "out_spec")
    holder, key = random.choice(found)
    tree = json.loads(holder[key])
    nodes = [each for each in (h for h, k in _places(tree) if k == "context") if each["type"]]
    if not nodes:
        return "nothing"
    random.choice(nodes)["context"] = said = random.choice((*_CONTEXTS, text(random)))
    holder[key] = json.dumps(tree)
    return f"a context in {key} becomes {said[:40]!r}"


def rename(model: Any, random: Random) -> str:
    """A tensor, an argument or a parameter has another name, wherever it stands."""
    names = {h[k] for h, k in _with_key(model, "name", "parameter_name") if isinstance(h[k], str)}
    old, new = random.choice(sorted(names)), random.choice((*_NAMES, text(random)))
    whole = json.dumps(model).replace(json.dumps(old), json.dumps(new))
    model.clear()
    model.update(json.loads(whole))
    return f"{old!r} is called {new[:40]!r}"


def heading(model: Any, random: Random) -> str:
    """Versions, guards and the like."""
    key = random.choice(("schema_version", "torch_version", "opset_version", "guards_code",
                         "verifiers", "range_constraints"))  # fmt: skip
    model[key] = _odd(random)
    return f"{key} becomes {str(model[key])[:40]!r}"


CHANGES: tuple[Change, ...] = (
    leaf, leaf, number, number, entry, entry, exchange, target, target, edges, argument, argument,
    tensor, tensor, symbol, symbol, signature, structure, structure, rename, heading,
)  # fmt: skip


def change_table(content: Members, random: Random) -> str:
    """A table of tensors says something else: shapes and strides beyond the data, other files."""
    member = random.choice((WEIGHTS, WEIGHTS, CONSTANTS))
    table = json.loads(content[member])
    entries = table["config"]
    if not entries or random.random() < 0.25:
        said = random.choice((leaf, entry, number, exchange))(table, random)
    else:
        name = random.choice(list(entries))
        way = random.randrange(5)
        if way < 3:
            _spoil(entries[name]["tensor_meta"], random)
        elif way == 3:
            paths = ["weight_0", "weight_1", "tensor_0", "../../models/model.json", text(random)]
            entries[name]["path_name"] = random.choice(paths)
        else:
            entries[name][random.choice(("use_pickle", "is_param"))] = random.choice(
                (True, None, 0, "", [])
            )
        said = f"{name!r} is another tensor ({way})"
    content[member] = json.dumps(table).encode()
    return f"{member}: {said}"


def change_json(content: Members, random: Random) -> str:
    """Changes the graph or a table of tensors, 1 to 3 times."""
    said = []
    for _ in range(random.choice((1, 1, 2, 3))):
        try:
            if random.random() < 0.25:
                said.append(change_table(content, random))
                continue
            model = json.loads(content[MODEL])
            said.append(random.choice(CHANGES)(model, random))
            content[MODEL] = json.dumps(model).encode()
        except (KeyError, TypeError, IndexError, ValueError, AttributeError):
            # An earlier change took away what this one wants.
            said.append("nothing")
    return "; ".join(said)
