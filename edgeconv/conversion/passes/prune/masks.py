"""What stays of every tensor and weight once channels are dropped."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx import Node

from edgeconv.conversion.passes.prune.channels import Ids
from edgeconv.conversion.passes.prune.graph import weight_tensor
from edgeconv.conversion.passes.prune.twins import Twin, kept_mask
from edgeconv.conversion.passes.prune.walk import Walk

Mask = NDArray[np.bool_]


class Kept:
    """The channels that stay when some classes are dropped."""

    def __init__(self, state: Walk, dropped: Ids) -> None:
        self._state = state
        self._dropped = np.sort(dropped)
        self._masks: dict[int, list[Mask]] = {}

    def masks(self, value: Any) -> list[Mask] | None:
        """Per axis of a node's tensor, which indices stay; None if it has no twin."""
        twin = value if isinstance(value, Twin) else self._state.twins.get(value)
        if not isinstance(twin, Twin):
            return None
        if id(twin) not in self._masks:
            self._masks[id(twin)] = kept_mask(twin.ids, self._state.channels, self._dropped)
        return self._masks[id(twin)]

    def mask(self, value: Any, axis: int) -> Mask:
        """Which indices of one axis stay."""
        masks = self.masks(value)
        assert masks is not None
        return masks[axis]

    def shape(self, value: Any) -> tuple[int, ...] | None:
        """The shape that stays."""
        masks = self.masks(value)
        return None if masks is None else tuple(int(mask.sum()) for mask in masks)

    def results(self, node: Node) -> tuple[Any, ...]:
        """The twins of a node with several results."""
        found = self._state.twins.get(node)
        return found if isinstance(found, tuple) else ()

    def take(self, node: Node, tensor: torch.Tensor) -> torch.Tensor:
        """What stays of a node's value."""
        for axis, mask in enumerate(self.masks(node) or ()):
            if not mask.all():
                tensor = tensor.index_select(axis, torch.from_numpy(np.flatnonzero(mask)))
        return tensor

    def weights(self) -> dict[str, torch.Tensor]:
        """Key → what stays of the weight, contiguous, for those that shrink."""
        made = {}
        for key, axes in self._axes().items():
            tensor = weight_tensor(self._state.exported, key).detach()
            for axis, mask in axes.items():
                tensor = tensor.index_select(axis, torch.from_numpy(np.flatnonzero(mask)))
            made[key] = tensor.contiguous().clone()
        return made

    def zeroed(self) -> dict[str, torch.Tensor]:
        """Key → the whole weight with what goes set to zero, for those that shrink."""
        made = {}
        for key, axes in self._axes().items():
            tensor = weight_tensor(self._state.exported, key).detach().clone()
            for axis, mask in axes.items():
                tensor.index_fill_(axis, torch.from_numpy(np.flatnonzero(~mask)), 0)
            made[key] = tensor
        return made

    def _axes(self) -> dict[str, dict[int, Mask]]:
        axes: dict[str, dict[int, Mask]] = defaultdict(dict)
        for cut in self._state.cuts:
            mask = ~np.isin(self._state.channels.roots(cut.ids), self._dropped)
            if not mask.all():
                axes[cut.key][cut.axis] = mask
        return axes
