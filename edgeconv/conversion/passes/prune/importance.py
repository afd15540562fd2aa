"""How much a channel matters.

Without data: the size of its weights in all layers that share it (Li et al., "Pruning
Filters for Efficient ConvNets", ICLR 2017), each layer's norms divided by their mean so that
no layer outvotes another. With calibration data: the size of the weights that take it, times
how far the channel varies there (after Sun et al., "A Simple and Effective Pruning Approach
for Large Language Models", ICLR 2024), which is what the next layer would miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from edgeconv.conversion.passes.prune.activity import Activity
from edgeconv.conversion.passes.prune.channels import Ids
from edgeconv.conversion.passes.prune.graph import (
    arguments,
    operator_name,
    placeholder_tensors,
    weight_tensor,
)
from edgeconv.conversion.passes.prune.walk import Cut, Walk

Norm = Literal["l1", "l2"]


def rank(state: Walk, norm: Norm, activity: Activity | None = None) -> dict[int, float]:
    """Class representative → importance, larger is more important.

    Args:
        activity: From `measure_activity`; None without calibration data.
    """
    cuts = [cut for cut in state.cuts if weight_tensor(state.exported, cut.key).ndim > 1]
    scales = _scales(state)
    if activity is not None:
        taken = _roots_of(state, [cut for cut in cuts if cut.role == "takes"])
        # Channels that only another activation takes (queries, keys) have no such weights.
        cuts = [
            cut
            for cut in cuts
            if cut.role == "takes" or not np.isin(state.channels.roots(cut.ids), taken).all()
        ]
    width = int(_roots_of(state, state.cuts).max(initial=0)) + 1
    total = np.zeros(width)
    for cut in cuts:
        size = _norms(weight_tensor(state.exported, cut.key), cut, norm)
        if cut.role == "makes" and cut.node in scales:
            size = size * scales[cut.node]
        if cut.role == "takes" and activity is not None and cut.node in activity:
            size = size * activity[cut.node]
        mean = size.mean()
        if mean > 0:
            np.add.at(total, state.channels.roots(cut.ids), size / mean)
    return {one: float(total[one]) for one in _roots_of(state, state.cuts).tolist()}


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


def _roots_of(state: Walk, cuts: Sequence[Cut]) -> Ids:
    parts = [np.zeros(0, dtype=np.int64), *(state.channels.roots(cut.ids) for cut in cuts)]
    return np.unique(np.concatenate(parts))
