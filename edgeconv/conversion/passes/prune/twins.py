"""The twin of a tensor: at each position the id of the channel that lives there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from edgeconv.conversion.passes.prune.channels import FIXED, Channels, Ids


@dataclass(frozen=True)
class Twin:
    """Channel ids in the shape of a tensor.

    Attributes:
        ids: int64, shape of the tensor; axes along which ids don't vary have stride 0
            where that is cheap to know. FIXED (0) where nothing can be removed.
        zero: A channel that is removed holds zeros here when its weights are zeroed.
        free: The tensor is made of parameters alone; its ids join no axis yet.
    """

    ids: torch.Tensor
    zero: bool = False
    free: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape before pruning."""
        return tuple(self.ids.shape)


def fixed_twin(shape: Sequence[int]) -> Twin:
    """A twin without channels."""
    return Twin(torch.zeros((), dtype=torch.int64).expand(tuple(shape)), zero=False)


def axis_twin(ids: Ids, shape: Sequence[int], axis: int, *, zero: bool) -> Twin:
    """A twin whose ids vary along one axis."""
    around = [1] * len(shape)
    around[axis] = len(ids)
    return Twin(torch.from_numpy(ids.copy()).view(around).expand(tuple(shape)), zero=zero)


def compact(ids: torch.Tensor) -> torch.Tensor:
    """The same ids with every axis of stride 0 narrowed to size 1."""
    for axis, (size, stride) in enumerate(zip(ids.shape, ids.stride(), strict=True)):
        if size > 1 and stride == 0:
            ids = ids.narrow(axis, 0, 1)
    return ids


def class_array(ids: torch.Tensor, channels: Channels) -> Ids:
    """Representatives in the shape of the ids, with axes that don't vary narrowed to 1."""
    roots = channels.roots(compact(ids).numpy())
    for axis in range(roots.ndim):
        if roots.shape[axis] > 1:
            first = roots.take([0], axis=axis)
            if np.array_equal(np.broadcast_to(first, roots.shape), roots):
                roots = first
    return roots


def varying_axes(ids: torch.Tensor, channels: Channels) -> list[int]:
    """The axes along which the ids vary."""
    return [axis for axis, size in enumerate(class_array(ids, channels).shape) if size > 1]


def is_fixed(ids: torch.Tensor, channels: Channels) -> bool:
    """Whether nothing in the tensor can be removed."""
    return not channels.roots(compact(ids).numpy()).any()


def along(ids: torch.Tensor, axis: int) -> Ids:
    """The ids at the first position of every other axis."""
    index: list[int | slice] = [0] * ids.ndim
    index[axis] = slice(None)
    found: Ids = ids[tuple(index)].numpy()
    return found


def settle(ids: torch.Tensor, channels: Channels) -> tuple[int | None, int]:
    """Joins ids until they vary along one axis at most, so that cutting leaves a box.

    Of several axes the one with the most different slices is kept: in [heads, width] or
    [groups, channels] that is the inner structure, which shrinks the same everywhere.

    Returns:
        That axis, None if no ids vary, and the number of classes that became locked.
    """
    roots = class_array(ids, channels)
    axes = [axis for axis, size in enumerate(roots.shape) if size > 1]
    if len(axes) <= 1:
        return (axes[0] if axes else None), 0
    kinds = [len(np.unique(np.moveaxis(roots, axis, 0).reshape(roots.shape[axis], -1), axis=0))
             for axis in axes]  # fmt: skip
    axis = max(zip(kinds, axes, strict=True))[1]
    lines = np.moveaxis(roots, axis, 0).reshape(roots.shape[axis], -1)
    locked = channels.join(np.broadcast_to(lines[:, :1], lines.shape), lines)
    left = varying_axes(ids, channels)
    return (left[0] if left else None), locked


def kept_mask(ids: torch.Tensor, channels: Channels, dropped: Ids) -> list[np.ndarray]:
    """Per axis, which indices stay; `dropped` holds representatives."""
    roots = class_array(ids, channels)
    masks = [np.ones(size, dtype=np.bool_) for size in ids.shape]
    gone = np.isin(roots, dropped) & (roots != FIXED)
    for axis, size in enumerate(roots.shape):
        if size > 1:
            masks[axis] = ~gone.reshape(roots.shape).any(
                axis=tuple(other for other in range(roots.ndim) if other != axis)
            )
    return masks
