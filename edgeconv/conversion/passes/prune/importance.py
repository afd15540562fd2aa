"""How much a channel matters: the size of its weights, in the layers that make and take it.

Magnitude ranking after Li et al., "Pruning Filters for Efficient ConvNets" (ICLR 2017),
summed over all layers that share a channel, each layer's norms divided by their mean so
that no layer outvotes another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from edgeconv.conversion.passes.prune.graph import (
    arguments,
    operator_name,
    placeholder_tensors,
    weight_tensor,
)
from edgeconv.conversion.passes.prune.walk import Cut, Walk

Norm = Literal["l1", "l2"]


def rank(state: Walk, norm: Norm) -> dict[int, float]:
    """Class representative → importance, larger is more important."""
    cuts = [cut for cut in state.cuts if weight_tensor(state.exported, cut.key).ndim > 1]
    scales = _scales(state)
    width = max((int(cut.ids.max()) for cut in cuts if cut.ids.size), default=0) + 1
    total = np.zeros(width)
    for cut in cuts:
        size = _norms(weight_tensor(state.exported, cut.key), cut, norm)
        if cut.role == "makes" and cut.node in scales:
            size = size * scales[cut.node]
        mean = size.mean()
        if mean > 0:
            np.add.at(total, state.channels.roots(cut.ids), size / mean)
    classes = _classes(state, cuts)
    return {one: float(total[one]) for one in classes}


def _norms(weight: torch.Tensor, cut: Cut, norm: Norm) -> NDArray[np.float64]:
    rows = weight.detach().double().movedim(cut.axis, 0).flatten(1)
    size = rows.abs().mean(dim=1) if norm == "l1" else rows.square().mean(dim=1).sqrt()
    return size.numpy()


def _scales(state: Walk) -> dict[str, NDArray[np.float64]]:
    """Per convolution that a batch normalisation follows, the scale of each of its rows."""
    tensors = placeholder_tensors(state.exported)
    found = {}
    for node in state.exported.graph.nodes:
        if node.op != "call_function" or not operator_name(node).endswith("batch_norm"):
            continue
        given = arguments(node)
        gamma, var = given.get("weight"), given.get("running_var")
        if gamma is None or var is None or gamma.name not in tensors or var.name not in tensors:
            continue
        spread = (tensors[var.name].double() + given["eps"]).sqrt()
        scale = tensors[gamma.name].detach().double().abs() / spread
        if len(given["input"].users) == 1:
            found[given["input"].name] = scale.numpy()
    return found


def _classes(state: Walk, cuts: Iterable[Cut]) -> list[int]:
    found: set[int] = set()
    for cut in cuts:
        found.update(state.channels.roots(cut.ids).tolist())
    return sorted(found)
