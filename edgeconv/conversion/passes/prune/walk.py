"""What is known while walking a graph: twins by node, cuts by weight, and why things lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch.export import ExportedProgram
from torch.fx import Node

from edgeconv.conversion.passes.prune.channels import Channels, Ids, Lock
from edgeconv.conversion.passes.prune.graph import (
    arguments,
    layer_name,
    operator_name,
    shape_of,
    trace_weight,
    weight_tensor,
)
from edgeconv.conversion.passes.prune.twins import Twin, class_array, fixed_twin, settle

Role = Literal["makes", "takes", "carries"]
_MOST_FREE_IDS = 1 << 21


@dataclass(frozen=True)
class Cut:
    """An axis of a weight whose indices are channels.

    Attributes:
        key: The weight.
        axis: The axis of the weight.
        ids: int64 per index along the axis; FIXED where it must stay.
        role: "makes" the channels (rows of a convolution), "takes" them (columns), or
            "carries" them along (a bias, a normalisation, a scale).
        node: Name of the graph node that uses the weight so.
    """

    key: str
    axis: int
    ids: Ids
    role: Role
    node: str


@dataclass
class Walk:
    """What is known while and after walking a graph.

    Attributes:
        rule: Gives the rule of a node.
        keys: Placeholder name → weight key.
        twins: By node; a tuple for nodes with several results. Weights have one only if
            something else than a layer looks at them.
        cuts: Every axis of every weight that holds channels.
    """

    exported: ExportedProgram
    origins: Mapping[str, str]
    rule: Callable[[Node], Callable[[Walk, Node], Any]]
    keys: dict[str, str]
    channels: Channels = field(default_factory=Channels)
    twins: dict[Node, Any] = field(default_factory=dict)
    cuts: list[Cut] = field(default_factory=list)

    def name(self, node: Node) -> str:
        """The user's name for a node."""
        return layer_name(node, self.origins, self.keys)

    def twin(self, value: Any) -> Twin | None:
        """The twin of an argument; None if it is no single tensor."""
        if not isinstance(value, Node):
            return None
        if value not in self.twins and trace_weight(value, self.keys):
            made = self._free(value) if value.op == "placeholder" else self.rule(value)(self, value)
            self.twins[value] = made
        found = self.twins.get(value)
        return found if isinstance(found, Twin) else None

    def axis_of(self, twin: Twin, node: Node) -> int | None:
        """The one axis along which a twin varies; ids are joined until there is one."""
        axis, locked = settle(twin.ids, self.channels)
        if locked:
            self.remember(node, locked, "mixes them with positions that must stay")
        return axis

    def lock(self, twin: Twin, node: Node, because: str) -> None:
        """Locks every channel of a twin."""
        ids = class_array(twin.ids, self.channels)
        self.channels.lock(ids, self.name(node), operator_name(node), because)

    def join(self, left: Any, right: Any, node: Node) -> None:
        """Joins ids position by position."""
        locked = self.channels.join(left, right)
        if locked:
            self.remember(node, locked, "joins them with a tensor whose channels must stay")

    def cut(self, key: str, axis: int, ids: Ids, role: Role, node: Node) -> None:
        """Notes that a weight's axis holds these channels."""
        self.cuts.append(Cut(key, axis, np.array(ids), role, node.name))

    def makes(self, key: str, axis: int, size: int, node: Node) -> Ids:
        """New channels made by a weight's axis; a single one can't be removed."""
        ids = self.channels.fresh(size) if size > 1 else np.zeros(size, dtype=np.int64)
        self.cut(key, axis, ids, "makes", node)
        return ids

    def carries(self, weight: Any, ids: Ids, node: Node) -> None:
        """Cuts a one-axis weight (bias, scale) like these channels, or locks them."""
        if weight is None:
            return
        key = self.keys.get(weight.name) if isinstance(weight, Node) else None
        if key is None or tuple(weight_tensor(self.exported, key).shape) != (len(ids),):
            because = "takes a weight that is computed or shaped otherwise"
            self.channels.lock(ids, self.name(node), operator_name(node), because)
        else:
            self.cut(key, 0, ids, "carries", node)

    def pin(self, value: Node) -> bool:
        """Keeps a weight whole, without a word: False if the node shows no weight."""
        if not trace_weight(value, self.keys):
            return False
        while value.op != "placeholder":
            value = arguments(value)["self"]
        twin = self.twins.setdefault(value, fixed_twin(shape_of(value)))
        self.channels.join(twin.ids.numpy(), np.zeros(twin.shape, dtype=np.int64))
        return True

    def remember(self, node: Node, locked: int, because: str) -> None:
        """Notes the reason of a lock that came about by joining."""
        lock = Lock(self.name(node), operator_name(node), because, locked)
        self.channels.locks.append(lock)

    def _free(self, node: Node) -> Twin:
        shape = shape_of(node)
        size = int(np.prod(shape)) if shape else 1
        if not node.meta["val"].is_floating_point() or not 1 < size <= _MOST_FREE_IDS:
            return fixed_twin(shape)
        ids = torch.from_numpy(self.channels.fresh(size)).view(shape)
        return Twin(ids, zero=True, free=True)


def blank(node: Node) -> Any:
    """Twins without channels for what a node gives, tensor or tuple; None for the rest."""
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor):
        return fixed_twin(shape_of(node))
    if isinstance(value, tuple | list):
        return tuple(
            fixed_twin([int(s) for s in each.shape]) if isinstance(each, torch.Tensor) else None
            for each in value
        )
    return None


def refuse(state: Walk, node: Node, because: str) -> Any:
    """Locks every channel that a node touches."""
    for each in node.all_input_nodes:
        if state.pin(each):
            continue
        found = state.twins.get(each)
        for twin in found if isinstance(found, tuple) else (found,):
            if isinstance(twin, Twin):
                state.lock(twin, node, because)
    return blank(node)
