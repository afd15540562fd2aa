"""How far each channel varies on calibration data, at the layers that take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from edgeconv.conversion.passes.prune.layer import Layer, find_layers
from edgeconv.conversion.passes.prune.lockstep import Lockstep

Activity = dict[str, NDArray[np.float64]]


def measure_activity(
    exported: ExportedProgram, runs: Sequence[Sequence[Tensor]], norm: Literal["l1", "l2"]
) -> Activity:
    """Node name of a layer → per index of its weight's taken axis, how far the input varies.

    Mean absolute deviation for l1, standard deviation for l2; a constant channel counts
    nothing, since the bias of the layer that takes it can stand for it.
    """
    layers = find_layers(exported)
    lockstep = Lockstep(exported, runs)
    found = {}
    with torch.no_grad():
        for name in [node.name for node in exported.graph.nodes if node.op == "call_function"]:
            if name in layers:
                found[name] = _deviation(layers[name], lockstep.values(layers[name].source), norm)
            lockstep.run(name)
            lockstep.let_go(name)
    return found


def _deviation(
    layer: Layer, values: Sequence[Tensor], norm: Literal["l1", "l2"]
) -> NDArray[np.float64]:
    axis = 1 if layer.is_convolution else -1
    rows = torch.cat([value.double().movedim(axis, 0).flatten(1) for value in values], dim=1)
    away = rows - rows.mean(dim=1, keepdim=True)
    spread = away.abs().mean(dim=1) if norm == "l1" else away.square().mean(dim=1).sqrt()
    # In a grouped convolution an index stands for the same place of every group.
    return spread.reshape(layer.groups, -1).mean(dim=0).numpy()
