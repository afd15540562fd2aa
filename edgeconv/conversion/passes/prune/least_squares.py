"""Ridge regression towards given weights, from sums that don't grow with the data.

Minimises Σ‖y − W x − b‖² + λ s ‖W − W₀‖² with s the mean variance of x. λ is chosen on
samples that took no part in the fit. Refitting a layer's weights to the unpruned layer's
outputs follows He et al., "Channel Pruning for Accelerating Very Deep Neural Networks"
(ICCV 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Intercept = Literal["fitted", "none"]

_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_FEW_PENALTIES = (1e-3, 1e-1)
_WIDE = 1024
_CHUNK = 4096
_LEAST_GAIN = 1e-3


class Sums:
    """Σ x xᵀ, Σ x yᵀ, Σ x, Σ y, Σ y² in float64, per group.

    Args:
        groups: Independent problems of one size.
        taken: Length of x.
        made: Length of y.
    """

    def __init__(self, groups: int, taken: int, made: int) -> None:
        self.xx = torch.zeros(groups, taken, taken, dtype=torch.float64)
        self.xy = torch.zeros(groups, taken, made, dtype=torch.float64)
        self.x = torch.zeros(groups, taken, dtype=torch.float64)
        self.y = torch.zeros(groups, made, dtype=torch.float64)
        self.yy = torch.zeros(groups, made, dtype=torch.float64)
        self.rows = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Adds rows: x is [groups, rows, taken], y is [groups, rows, made]."""
        for start in range(0, x.shape[1], _CHUNK):
            part = x[:, start : start + _CHUNK].double()
            want = y[:, start : start + _CHUNK].double()
            self.xx += part.transpose(1, 2) @ part
            self.xy += part.transpose(1, 2) @ want
            self.x += part.sum(1)
            self.y += want.sum(1)
            self.yy += want.square().sum(1)
        self.rows += x.shape[1]

    def plus(self, other: Sums) -> Sums:
        """The sums over both."""
        made = Sums(*self.xy.shape)
        for name in ("xx", "xy", "x", "y", "yy", "rows"):
            setattr(made, name, getattr(self, name) + getattr(other, name))
        return made

    def error(self, matrix: Tensor, offset: Tensor) -> float:
        """Mean over outputs of the squared error as a share of the output's variance."""
        quadratic = ((matrix @ self.xx) * matrix).sum(2)
        cross = (matrix * self.xy.transpose(1, 2)).sum(2)
        reached = (matrix @ self.x.unsqueeze(2)).squeeze(2)
        wrong = self.yy - 2 * cross - 2 * offset * self.y + quadratic + 2 * offset * reached
        wrong = wrong + self.rows * offset.square()
        spread = (self.yy - self.y.square() / self.rows).clamp_min(1e-12)
        return float((wrong.clamp_min(0) / spread).clamp_max(4.0).mean())


@dataclass(frozen=True)
class Fit:
    """A fitted layer: matrix [groups, made, taken], offset [groups, made]."""

    matrix: Tensor
    offset: Tensor
    error_before: float
    error_after: float


def refit(
    fitting: Sums, held_out: Sums, start: Tensor, offset: Tensor, intercept: Intercept
) -> Fit | None:
    """The best ridge fit; None if none beats the starting weights on the held-out sums.

    Args:
        start: W₀, [groups, made, taken], float64.
        offset: b of the starting weights, [groups, made], float64.
        intercept: Whether b is fitted; else it stays 0.
    """
    before = held_out.error(start, offset)
    best, chosen = before * (1 - _LEAST_GAIN), None
    wide = start.shape[2] > _WIDE
    for penalty in _FEW_PENALTIES if wide else _PENALTIES:
        made = _solve(fitting, start, penalty, intercept)
        if made is None:
            continue
        error = held_out.error(*made)
        if error < best:
            best, chosen = error, penalty
    if chosen is None:
        return None
    final = _solve(fitting.plus(held_out), start, chosen, intercept)
    return None if final is None else Fit(*final, error_before=before, error_after=best)


def _solve(
    sums: Sums, start: Tensor, penalty: float, intercept: Intercept
) -> tuple[Tensor, Tensor] | None:
    xx, xy = sums.xx, sums.xy
    if intercept == "fitted":
        xx = xx - sums.x.unsqueeze(2) * sums.x.unsqueeze(1) / sums.rows
        xy = xy - sums.x.unsqueeze(2) * sums.y.unsqueeze(1) / sums.rows
    size = xx.shape[1]
    scale = xx.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    weight = (penalty * scale).view(-1, 1, 1) * torch.eye(size, dtype=torch.float64)
    factor, failed = torch.linalg.cholesky_ex(xx + weight)
    if bool(failed.any()):
        return None
    wanted = xy - xx @ start.transpose(1, 2)
    matrix = start + torch.cholesky_solve(wanted, factor).transpose(1, 2)
    if intercept == "none":
        return matrix, torch.zeros_like(sums.y)
    reached = (matrix @ sums.x.unsqueeze(2)).squeeze(2)
    return matrix, (sums.y - reached) / sums.rows
