"""In-place operators of a saved program become ones that return a new tensor.

Passes and converters read a graph as mathematics. Most in-place operators are activations
whose input nothing else sees; they are renamed where they stand. Where a view, an input or
a state may be changed, torch's own functionalization rewrites the whole program.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument


def make_functional(exported: ExportedProgram) -> tuple[ExportedProgram, bool]:
    """The program without in-place operators.

    Returns:
        The program, changed in place or new, and whether torch had to rewrite all of it.
        A state or an input that is changed shows in its signature then.
    """
    nodes = [node for node in exported.graph.nodes if _is_in_place(node)]
    for node in nodes:
        if not _can_rename(node):
            return exported.run_decompositions({}), True
        _rename(exported, node)
    if nodes:
        exported.graph.lint()
        exported.graph_module.recompile()
    return exported, False


def _is_in_place(node: torch.fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _functional_of(target: Any) -> Any:
    """The overload that returns a new tensor, or None."""
    name = str(target._schema.name).rpartition("::")[2]
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None) if name.endswith("_") else None
    return getattr(packet, target._overloadname, None)


def _can_rename(node: torch.fx.Node) -> bool:
    """Whether nobody can tell the difference."""
    changed = node.args[0] if node.args else None
    functional = _functional_of(node.target)
    if functional is None or not isinstance(changed, torch.fx.Node):
        return False
    if changed.op != "call_function" or _is_view(changed) or not _same_types(node, changed):
        return False
    return not any(_is_view(user) for user in changed.users if user is not node)


def _is_view(node: torch.fx.Node) -> bool:
    """Whether a node's result may share memory with its inputs, or can't be known."""
    schema = getattr(node.target, "_schema", None)
    if node.op == "output":
        return False
    if schema is None:
        return True
    if schema.is_mutable:
        return False
    # reshape and contiguous say nothing of sharing in their schema, yet may give a view.
    may_share = schema.name in ("aten::reshape", "aten::contiguous", "aten::to", "aten::flatten")
    return may_share or any(value.alias_info is not None for value in schema.returns)


def _same_types(node: torch.fx.Node, changed: torch.fx.Node) -> bool:
    """An in-place operator keeps its input's type and shape; the other one may not."""
    kept = changed.meta["val"]
    for each in node.all_input_nodes:
        value = each.meta.get("val")
        if not isinstance(value, torch.Tensor) or value.dtype != kept.dtype:
            return False
    return bool(kept.is_floating_point()) and node.meta["val"].shape == kept.shape


def _rename(exported: ExportedProgram, node: torch.fx.Node) -> None:
    changed = node.args[0]
    assert isinstance(changed, torch.fx.Node)
    node.target = _functional_of(node.target)
    order = {each: place for place, each in enumerate(exported.graph.nodes)}
    changed.replace_all_uses_with(node, delete_user_cb=lambda user: order[user] > order[node])
    for spec in exported.graph_signature.output_specs:
        if isinstance(spec.arg, TensorArgument) and spec.arg.name == changed.name:
            spec.arg.name = node.name
