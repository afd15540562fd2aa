"""The structures of a saved program's inputs and outputs.

Each is JSON in a string, and the `context` of each node in it is JSON in a string once more.
torch parses that with a hook that imports any module and looks a name up in it
(`torch.utils._pytree.enum_object_hook`), and writes the names of keyword inputs into Python
source. So both are parsed here as torch does, and torch is given what is written anew from that.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake.foreign_words import first_words
from edgeconv.conversion.intake.pt2.refusals import MODEL, unsafe

_PROTOCOL = 1
_DEEPEST = 64
_SEQUENCES = ("builtins.tuple", "builtins.list")
_TABLES = ("builtins.dict", "collections.OrderedDict")
_WHAT = "as a structure of inputs or outputs"


@dataclass(frozen=True)
class _Node:
    """`kind` is None for a tensor; `keys` are those of a dictionary."""

    kind: str | None
    keys: tuple[Any, ...]
    children: tuple[_Node, ...]

    def to_json(self) -> dict[str, Any]:
        """As torch writes it."""
        context = None
        if self.kind is not None:
            context = json.dumps(list(self.keys) if self.kind in _TABLES else None)
        children = [child.to_json() for child in self.children]
        return {"type": self.kind, "context": context, "children_spec": children}


def inputs_written_anew(text: Any) -> str:
    """As `outputs_written_anew`; keyword inputs must have names that Python takes."""
    root = _parsed(text)
    if root.kind == "builtins.tuple" and len(root.children) == 2:
        for key in root.children[1].keys:
            if not isinstance(key, str) or not key.isidentifier():
                raise unsafe(MODEL, str(key), "as the name of an input it is no identifier")
    return _written(root)


def outputs_written_anew(text: Any) -> str:
    """The same structure of tensors, tuples, lists and dictionaries, in text of our own.

    Raises:
        EdgeconvError: MODEL_UNSAFE for what torch's exporter never writes,
            OPERATOR_UNSUPPORTED for other types.
    """
    return _written(_parsed(text))


def _written(root: _Node) -> str:
    return json.dumps([_PROTOCOL, root.to_json()])


def _parsed(text: Any) -> _Node:
    value = _json(text)
    if not isinstance(value, list) or len(value) != 2 or value[0] != _PROTOCOL:
        raise unsafe(MODEL, str(text), f"{_WHAT} it is none of protocol {_PROTOCOL}")
    return _node(value[1], 0)


def _json(text: Any) -> Any:
    if not isinstance(text, str):
        raise unsafe(MODEL, str(text), f"{_WHAT} it is no text")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unsafe(MODEL, text, f"{_WHAT} it is no JSON ({first_words(error)})") from error


def _node(value: Any, depth: int) -> _Node:
    if not isinstance(value, dict) or not {"type", "context", "children_spec"} <= value.keys():
        raise unsafe(MODEL, str(value), f"{_WHAT} it has a part that is none")
    kind, context, below = value["type"], value["context"], value["children_spec"]
    if kind is not None and kind not in (*_SEQUENCES, *_TABLES):
        raise EdgeconvError(
            Reason.OPERATOR_UNSUPPORTED,
            f"The model takes or returns a {kind!r}.",
            fix="Export it with tensors, tuples, lists and dictionaries only.",
            type=kind,
        )
    if not isinstance(below, list) or depth > _DEEPEST:
        raise unsafe(MODEL, str(kind), f"{_WHAT} it has parts that are none, or too deep")
    if kind is None:
        if context is not None or below:
            raise unsafe(MODEL, str(context), f"{_WHAT} it has a tensor with parts")
        return _Node(None, (), ())
    keys = _keys(kind, context, len(below))
    return _Node(kind, keys, tuple(_node(child, depth + 1) for child in below))


def _keys(kind: str, context: Any, children: int) -> tuple[Any, ...]:
    said = _json(context)
    if kind in _SEQUENCES:
        if said is not None:
            raise unsafe(MODEL, str(context), f"a {kind} in a structure says more than its parts")
        return ()
    if not isinstance(said, list) or not all(_is_key(key) for key in said):
        raise unsafe(MODEL, str(context), f"a {kind} in a structure has no plain keys")
    if len(said) != children or len(set(said)) != children:
        raise unsafe(MODEL, str(context), f"a {kind} in a structure has other keys than parts")
    return tuple(said)


def _is_key(key: Any) -> bool:
    return isinstance(key, str | int) or (isinstance(key, float) and math.isfinite(key))
