"""Checks that a model's functions end: none calls itself, and their bodies stay of a size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

from edgeconv.base.errors import EdgeconvError, Reason

MOST_NODES = 200_000
"""That functions may become: each call is a copy of the body, so copies of copies double."""

_Key = tuple[str, str]


def check_function_calls(model: onnx.ModelProto) -> None:
    """Refuses functions that can't be put in the places where they are called.

    Raises:
        EdgeconvError: MODEL_UNREADABLE for a function that calls itself, through others or
            not; OPERATOR_UNSUPPORTED for calls that would become too many nodes.
    """
    bodies = {(each.domain, each.name): each for each in model.functions}
    calls = {key: list(_called(each.node, bodies)) for key, each in bodies.items()}
    sizes: dict[_Key, int] = {}
    for key in _innermost_first(calls):
        sizes[key] = len(bodies[key].node) + sum(sizes[each] for each in calls[key])
    whole = sum(sizes[each] for each in _called(model.graph.node, bodies))
    if whole > MOST_NODES:
        _, name = max(sizes, key=lambda key: sizes[key])
        raise EdgeconvError(
            Reason.OPERATOR_UNSUPPORTED,
            f"The calls of the model's functions, such as {name!r}, would become more than"
            f" {MOST_NODES} nodes.",
            fix="Export the model without functions.",
            function=name,
        )


def _innermost_first(calls: dict[_Key, list[_Key]]) -> Iterator[_Key]:
    """The functions, each after those that it calls."""
    done: set[_Key] = set()
    for first in calls:
        path: dict[_Key, Iterator[_Key]] = {}
        pending = [first]
        while pending:
            key = pending[-1]
            if key in done:
                pending.pop()
                continue
            inner = next(path.setdefault(key, iter(calls[key])), None)
            if inner is None:
                done.add(key)
                del path[key]
                yield pending.pop()
            elif inner in path:
                raise _endless(inner)
            elif inner not in done:
                pending.append(inner)


def _called(
    nodes: Iterable[onnx.NodeProto], bodies: dict[_Key, onnx.FunctionProto]
) -> Iterator[_Key]:
    for node in nodes:
        if (node.domain, node.op_type) in bodies:
            yield node.domain, node.op_type
        for attribute in node.attribute:
            yield from _called(attribute.g.node, bodies)
            for graph in attribute.graphs:
                yield from _called(graph.node, bodies)


def _endless(key: _Key) -> EdgeconvError:
    _, name = key
    return EdgeconvError(
        Reason.MODEL_UNREADABLE,
        f"The model's function {name!r} calls itself, which has no end.",
        fix="Export the model again, or without functions.",
        function=name,
    )
