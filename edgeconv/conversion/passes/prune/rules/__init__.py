"""How operators carry channels: one rule per operator, by family."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node

from edgeconv.conversion.passes.prune.graph import operator_name
from edgeconv.conversion.passes.prune.rules.attention import ATTENTION_RULES
from edgeconv.conversion.passes.prune.rules.layers import LAYER_RULES
from edgeconv.conversion.passes.prune.rules.mixing import MIXING_RULES
from edgeconv.conversion.passes.prune.rules.movement import MOVEMENT_RULES
from edgeconv.conversion.passes.prune.rules.normalisation import NORMALISATION_RULES
from edgeconv.conversion.passes.prune.rules.pointwise import POINTWISE_RULES, pointwise
from edgeconv.conversion.passes.prune.walk import Walk, blank, refuse

Rule = Callable[[Walk, Node], Any]

RULES: dict[str, Rule] = {
    **LAYER_RULES,
    **NORMALISATION_RULES,
    **ATTENTION_RULES,
    **MIXING_RULES,
    **MOVEMENT_RULES,
    **POINTWISE_RULES,
}


def rule_for(node: Node) -> Rule:
    """The rule of a node; for an operator without one, a rule that locks and says so."""
    if node.target is operator.getitem:
        return _item
    if not isinstance(node.target, OpOverload):
        return _unknown
    name = operator_name(node)
    known = RULES.get(name) or RULES.get(name.removesuffix("_"))
    if known:
        return known
    if torch.Tag.pointwise in node.target.tags:
        return pointwise
    return _unknown if node.all_input_nodes else lambda state, node: blank(node)


def _item(state: Walk, node: Node) -> Any:
    whole, place = node.args
    found = state.twins.get(whole) if isinstance(whole, Node) else None
    return found[place] if isinstance(found, tuple) and isinstance(place, int) else None


def _unknown(state: Walk, node: Node) -> Any:
    return refuse(state, node, "has no pruning rule")
