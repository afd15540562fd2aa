"""Walks a graph once and gives every tensor its twin of channel ids.

Operators that move data are executed on the twins; pointwise operators join the ids of
their operands; the rest have rules. An operator without a rule locks what it touches and
says so. Tracking dependencies of channels through a traced graph is the idea of DepGraph
(Fang et al., CVPR 2023); here the positions of the tensors carry the dependency, so no
operator needs an index mapping of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import Node

from edgeconv.conversion.passes.prune.channels import FIXED
from edgeconv.conversion.passes.prune.graph import shape_of, trace_weight, weight_keys
from edgeconv.conversion.passes.prune.rules import rule_for
from edgeconv.conversion.passes.prune.twins import (
    Twin,
    along,
    class_array,
    fixed_twin,
    is_fixed,
    varying_axes,
)
from edgeconv.conversion.passes.prune.walk import Cut, Walk


def walk(exported: ExportedProgram, origins: Mapping[str, str]) -> Walk:
    """Gives every tensor of the graph its twin and every weight its cuts."""
    state = Walk(exported, origins, rule_for, weight_keys(exported))
    nodes = list(exported.graph.nodes)
    for node in nodes:
        if node.op == "placeholder" and node.name not in state.keys:
            value = node.meta.get("val")
            is_tensor = isinstance(value, torch.Tensor)
            state.twins[node] = fixed_twin(shape_of(node)) if is_tensor else None
        elif node.op == "call_function" and not trace_weight(node, state.keys):
            state.twins[node] = rule_for(node)(state, node)
        elif node.op == "output":
            _lock_outputs(state, node)
    _share_weights(state, nodes)
    _settle_all(state)
    _cut_free_weights(state, nodes)
    return state


def _lock_outputs(state: Walk, node: Node) -> None:
    for each in node.all_input_nodes:
        twin = state.twin(each)
        if twin is not None:
            # No reason is noted: that outputs keep their shape is what everyone expects.
            ids = class_array(twin.ids, state.channels)
            state.channels.join(ids, np.zeros_like(ids))


def _share_weights(state: Walk, nodes: list[Node]) -> None:
    """Makes all users of one weight cut it alike; an axis that one can't cut is locked."""
    users: dict[str, set[str]] = defaultdict(set)
    looked_at = set()
    by_name = {node.name: node for node in nodes}
    for node in nodes:
        if node.op == "placeholder" and node in state.twins and node.name in state.keys:
            looked_at.add(state.keys[node.name])
        if node.op != "call_function" or trace_weight(node, state.keys):
            continue
        for each in node.all_input_nodes:
            traced = trace_weight(each, state.keys)
            if traced:
                users[traced[0]].add(node.name)
    cuts: dict[tuple[str, int], list[Cut]] = defaultdict(list)
    for cut in state.cuts:
        cuts[cut.key, cut.axis].append(cut)
    for (key, _), found in cuts.items():
        first = found[0]
        for other in found[1:]:
            state.join(first.ids, other.ids, by_name[other.node])
        idle = users[key] - {cut.node for cut in found}
        if idle or key in looked_at:
            node = by_name[min(idle) if idle else first.node]
            state.join(first.ids, np.zeros_like(first.ids), node)


def _settle_all(state: Walk) -> None:
    """Joins until every tensor can be cut as a box and keeps at least one channel."""
    everything = [
        (node, twin)
        for node, found in state.twins.items()
        for twin in (found if isinstance(found, tuple) else (found,))
        if isinstance(twin, Twin) and not is_fixed(twin.ids, state.channels)
    ]
    before = -1
    while before != (now := state.channels.joined):
        before = now
        for node, twin in everything:
            if len(varying_axes(twin.ids, state.channels)) > 1:
                state.axis_of(twin, node)
            roots = class_array(twin.ids, state.channels)
            if roots.size == 1 and roots.flat[0] != FIXED:
                state.lock(twin, node, "holds nothing besides them")


def _cut_free_weights(state: Walk, nodes: list[Node]) -> None:
    for node in nodes:
        twin = state.twins.get(node)
        if node.op != "placeholder" or not isinstance(twin, Twin) or not twin.free:
            continue
        for axis in varying_axes(twin.ids, state.channels):
            ids = along(twin.ids, axis)
            state.cut(state.keys[node.name], axis, ids, "carries", node)
