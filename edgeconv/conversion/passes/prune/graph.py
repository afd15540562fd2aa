"""Reading an exported graph: arguments by name, weights by key, layers by the user's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Node

_WEIGHTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
_SAME_WEIGHT = frozenset(
    {"aten.t", "aten.numpy_T", "aten.transpose", "aten.permute", "aten.detach", "aten.detach_",
     "aten.lift_fresh_copy", "aten.contiguous", "aten.clone", "aten.alias"}
)  # fmt: skip


def operator_name(node: Node) -> str:
    """Name without overload, such as "aten.conv2d"; "getitem" and such for the rest."""
    if isinstance(node.target, OpOverload):
        return str(node.target.overloadpacket)
    return getattr(node.target, "__name__", str(node.target))


def arguments(node: Node) -> dict[str, Any]:
    """Every argument of an operator by the name in its schema, defaults included."""
    target = cast(OpOverload, node.target)
    bound: dict[str, Any] = {}
    for place, argument in enumerate(target._schema.arguments):
        if place < len(node.args) and not argument.kwarg_only:
            bound[argument.name] = node.args[place]
        elif argument.name in node.kwargs:
            bound[argument.name] = node.kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound


def set_argument(node: Node, name: str, value: Any) -> None:
    """Gives an operator's argument another value, wherever it stands."""
    target = cast(OpOverload, node.target)
    for place, argument in enumerate(target._schema.arguments):
        if argument.name != name:
            continue
        if place < len(node.args) and not argument.kwarg_only:
            node.update_arg(place, value)
        else:
            node.update_kwarg(name, value)
        return
    raise KeyError(name)


def weight_keys(exported: ExportedProgram) -> dict[str, str]:
    """Placeholder name → key of the parameter, buffer or constant it stands for."""
    return {
        cast(Any, spec.arg).name: str(spec.target)
        for spec in exported.graph_signature.input_specs
        if spec.kind in _WEIGHTS
    }


def weight_tensor(exported: ExportedProgram, key: str) -> torch.Tensor:
    """The tensor behind a key."""
    found: Any = exported.state_dict.get(key, exported.constants.get(key))
    return cast(torch.Tensor, found)


def placeholder_tensors(exported: ExportedProgram) -> dict[str, torch.Tensor]:
    """Placeholder name → tensor, for all but the user's inputs."""
    return {name: weight_tensor(exported, key) for name, key in weight_keys(exported).items()}


def user_inputs(exported: ExportedProgram) -> list[str]:
    """Placeholder names of the user's inputs, in order."""
    specs = exported.graph_signature.input_specs
    return [cast(Any, s.arg).name for s in specs if s.kind is InputKind.USER_INPUT]


def trace_weight(node: Any, keys: Mapping[str, str]) -> tuple[str, tuple[int, ...]] | None:
    """The weight that a node shows, if it shows one as it is or with its axes reordered.

    Returns:
        Its key, and for each axis of the node's tensor the axis of the weight; None if
        the node computes anything else.
    """
    steps = []
    while isinstance(node, Node) and node.op == "call_function":
        if operator_name(node) not in _SAME_WEIGHT:
            return None
        steps.append(node)
        node = arguments(node)["self"]
    if not isinstance(node, Node) or node.op != "placeholder" or node.name not in keys:
        return None
    order = list(range(node.meta["val"].ndim))
    for step in reversed(steps):
        order = _reorder(step, order)
    return keys[node.name], tuple(order)


def _reorder(step: Node, order: list[int]) -> list[int]:
    name, given = operator_name(step), arguments(step)
    if name in ("aten.t", "aten.numpy_T"):
        return order[::-1]
    if name == "aten.transpose":
        order = list(order)
        a, b = given["dim0"], given["dim1"]
        order[a], order[b] = order[b], order[a]
    elif name == "aten.permute":
        order = [order[axis] for axis in given["dims"]]
    return order


def layer_name(node: Node, origins: Mapping[str, str], keys: Mapping[str, str]) -> str:
    """What the user calls a node: its origin, the module whose weight it uses, or itself."""
    if node.name in origins:
        return origins[node.name]
    for argument in node.all_input_nodes:
        key = keys.get(argument.name, "")
        if "." in key:
            return key.rpartition(".")[0]
    return node.name


def shape_of(node: Node) -> tuple[int, ...]:
    """The static shape of a node's tensor."""
    return tuple(int(size) for size in node.meta["val"].shape)


def flat_outputs(value: Any) -> list[torch.Tensor]:
    """What a program's module gives, as a list of tensors."""
    if isinstance(value, torch.Tensor):
        return [value]
    return [each for each in value if isinstance(each, torch.Tensor)]
