"""Normalisations: per channel they carry channels along, over channels they lock them.

Removing channels from a LayerNorm or GroupNorm changes the mean and variance of those that
stay, so that the result does not equal the zeroed original.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.fx import Node

from edgeconv.conversion.passes.prune.graph import arguments, operator_name
from edgeconv.conversion.passes.prune.rules.layers import channels_at
from edgeconv.conversion.passes.prune.twins import Twin, axis_twin, is_fixed
from edgeconv.conversion.passes.prune.walk import Walk, blank, refuse

_OVER_CHANNELS = "normalises over the channels"


def batch_norm(state: Walk, node: Node) -> Any:
    """Batch and instance normalisation: every weight is per channel of axis 1."""
    given = arguments(node)
    twin = state.twin(given["input"])
    if twin is None or (given.get("training") and "batch" in operator_name(node)):
        return refuse(state, node, "takes statistics over the batch")
    ids = channels_at(state, node, twin, 1, "normalises another axis")
    for name in ("weight", "bias", "running_mean", "running_var"):
        state.carries(given.get(name), ids, node)
    # With its weight and bias zeroed it gives zeros, whatever it is given.
    zero = twin.zero or given.get("weight") is not None
    return _first(node, axis_twin(ids, twin.shape, 1, zero=zero))


def layer_norm(state: Walk, node: Node) -> Any:
    """LayerNorm and RMSNorm over the last axes."""
    given = arguments(node)
    twin = state.twin(given["input"])
    if twin is None or is_fixed(twin.ids, state.channels):
        return blank(node)
    first = len(twin.shape) - len(given["normalized_shape"])
    axis = state.axis_of(twin, node)
    if axis is None or axis >= first:
        state.lock(twin, node, _OVER_CHANNELS)
        return blank(node)
    return _first(node, Twin(twin.ids, zero=False))


def group_norm(state: Walk, node: Node) -> Any:
    """GroupNorm: its groups are made of channels."""
    twin = state.twin(arguments(node)["input"])
    if twin is not None and not is_fixed(twin.ids, state.channels):
        state.lock(twin, node, _OVER_CHANNELS)
    return blank(node)


def _first(node: Node, twin: Twin) -> Any:
    """The twin, in front of the saved statistics if the operator gives them."""
    whole = blank(node)
    return (twin, *whole[1:]) if isinstance(whole, tuple) else twin


NORMALISATION_RULES: dict[str, Callable[[Walk, Node], Any]] = {
    "aten.batch_norm": batch_norm,
    "aten._native_batch_norm_legit_no_training": batch_norm,
    "aten.native_batch_norm": batch_norm,
    "aten.instance_norm": batch_norm,
    "aten.layer_norm": layer_norm,
    "aten.native_layer_norm": layer_norm,
    "aten.rms_norm": layer_norm,
    "aten._fused_rms_norm": layer_norm,
    "aten.group_norm": group_norm,
    "aten.native_group_norm": group_norm,
}
