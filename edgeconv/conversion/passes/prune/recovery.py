"""Getting back what pruning lost, without labels: the pruned program is refitted, layer by
layer in its own order, to what the original computes on calibration data.

Each layer sees what the already refitted layers before it give, so later layers correct
what earlier ones could not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from edgeconv.conversion.passes.prune.graph import arguments, flat_outputs, operator_name
from edgeconv.conversion.passes.prune.layer import Layer, find_layers
from edgeconv.conversion.passes.prune.least_squares import Sums, refit
from edgeconv.conversion.passes.prune.lockstep import Lockstep, peak_bytes
from edgeconv.conversion.passes.prune.masks import Kept
from edgeconv.conversion.passes.prune.rewrite import with_weights

Mode = Literal["batchnorm", "least-squares"]
Run = Sequence[Tensor]

_MEMORY_BYTES = 1 << 30
_LEAST_ROWS = 8192
_HOLD_OUT_EVERY = 4
_SAME = 1e-5
_MOST_SCALE = 4.0
_WIDEST = 6000


@dataclass
class Recovered:
    """What recovery did.

    Attributes:
        weights: Key → refitted weight.
        refitted: Layers refitted by least squares.
        restated: Layers and normalisations whose statistics were matched.
        left: The user's names of layers that could not be refitted, with the reason.
        samples: Samples used.
        snr_before_db: Centred SNR of the outputs, worst output, before recovery.
        snr_after_db: The same after it.
        too_few: There were too few samples to fit anything, so only statistics were matched.
        given_up: The outputs became worse, so no weight was replaced.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    refitted: int = 0
    restated: int = 0
    left: list[tuple[str, str]] = field(default_factory=list)
    samples: int = 0
    snr_before_db: float = math.nan
    snr_after_db: float = math.nan
    too_few: bool = False
    given_up: bool = False


def samples_that_fit(exported: ExportedProgram, available: int) -> int:
    """How many samples of a program and of a pruned one can be held at once."""
    return max(1, min(available, _MEMORY_BYTES // max(2 * peak_bytes(exported), 1)))


def recover(
    original: ExportedProgram,
    pruned: ExportedProgram,
    kept: Kept,
    runs: Sequence[Run],
    mode: Mode,
    *,
    seed: int,
    report: Callable[[float], None],
) -> Recovered:
    """Refits the pruned program's weights to the original's activations.

    Args:
        runs: Inputs of each sample, in the program's order.
        report: Called with a fraction.
    """
    with torch.no_grad():
        return _Recovery(original, pruned, kept, runs, mode, seed).run(report)


class _Recovery:
    def __init__(
        self,
        original: ExportedProgram,
        pruned: ExportedProgram,
        kept: Kept,
        runs: Sequence[Run],
        mode: Mode,
        seed: int,
    ) -> None:
        self.want = Lockstep(original, runs)
        self.have = Lockstep(pruned, runs)
        self.unfitted = pruned
        self.runs = runs
        self.kept = kept
        self.random = np.random.default_rng(seed)
        self.layers = find_layers(pruned)
        too_few = mode == "least-squares" and len(runs) < _HOLD_OUT_EVERY
        self.mode = "batchnorm" if too_few else mode
        self.done = Recovered(samples=len(runs), too_few=too_few)
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}

    def run(self, report: Callable[[float], None]) -> Recovered:
        before = dict(self.have.weights)
        names = [node.name for node in self.want.nodes.values() if node.op == "call_function"]
        for place, name in enumerate(names):
            self.want.run(name)
            self._fit(name)
            self.want.let_go(name)
            self.have.let_go(name)
            report(place / len(names))
        self._judge()
        self.done.given_up = self.done.snr_after_db < self.done.snr_before_db
        if not self.done.given_up:
            changed = self.have.weights.items()
            self.done.weights = {key: new for key, new in changed if new is not before[key]}
        return self.done

    def _fit(self, name: str) -> None:
        node = self.have.nodes[name]
        if operator_name(node) == "aten.batch_norm":
            self._restate_norm(node)
        self.have.run(name)
        layer = self.layers.get(name)
        if layer is None:
            return
        targets = self._targets(node)
        if self.mode == "least-squares":
            corrected = self._corrected(node, targets)
            if self._reaches(node, corrected):
                return
            if self._refit(layer, corrected):
                self.have.run(name)
                return
        if not _norm_after(node) and not self._reaches(node, targets):
            self._restate_layer(layer, targets)
            self.have.run(name)

    def _targets(self, node: Node) -> list[Tensor]:
        original = self.want.nodes[node.name]
        return [self.kept.take(original, value) for value in self.want.values(original)]

    def _corrected(self, node: Node, targets: list[Tensor]) -> list[Tensor]:
        """Targets that also make up for the error of what the layer's output is added to."""
        norm = _norm_after(node)
        other = _added_to(norm or node)
        if other is None or not self.have.has(other):
            return targets
        gaps = [want - got for want, got in
                zip(self._targets(other), self.have.values(other), strict=True)]  # fmt: skip
        if gaps[0].shape != targets[0].shape:
            return targets
        if norm is not None:
            scale = self._norm_scale(norm)
            gaps = [gap / scale.view(-1, *[1] * (gap.ndim - 2)) for gap in gaps]
        targets = [target + gap for target, gap in zip(targets, gaps, strict=True)]
        self.moments[node.name] = _moments(targets, 1)
        return targets

    def _norm_scale(self, norm: Node) -> Tensor:
        given = arguments(norm)
        weights, keys = self.have.weights, self.have.keys
        scale = (weights[keys[given["running_var"].name]] + given["eps"]).rsqrt()
        if given["weight"] is not None:
            scale = scale * weights[keys[given["weight"].name]]
        least = 0.1 * scale.abs().median()
        return torch.where(scale.abs() < least, least * torch.sign(scale + 1e-30), scale)

    def _reaches(self, node: Node, targets: Sequence[Tensor]) -> bool:
        pairs = zip(targets[:4], self.have.values(node)[:4], strict=True)
        return all(
            float((want - got).abs().max()) <= _SAME * float(want.abs().max())
            for want, got in pairs
        )

    def _refit(self, layer: Layer, targets: Sequence[Tensor]) -> bool:
        """Refits a layer by least squares; False if it stays as it was."""
        matrix = layer.matrix(self.have.weights).double()
        groups, made, taken = matrix.shape
        if not layer.can_refit or taken > _WIDEST:
            return self._leave(layer, "has a form that is not refitted")
        fitting, held_out = Sums(groups, taken, made), Sums(groups, taken, made)
        rows = -(-max(_LEAST_ROWS, 2 * taken) // len(targets))
        for place, (value, want) in enumerate(
            zip(self.have.values(layer.source), targets, strict=True)
        ):
            x, y = layer.patches(value), layer.results(want)
            if x.shape[1] > rows:
                some = torch.from_numpy(self.random.choice(x.shape[1], rows, replace=False))
                x, y = x[:, some], y[:, some]
            is_held_out = place % _HOLD_OUT_EVERY == _HOLD_OUT_EVERY - 1
            (held_out if is_held_out else fitting).add(x, y)
        norm = _norm_after(layer.node)
        offset = self._offset(layer, matrix, fitting, norm)
        fitted = layer.bias is not None or norm is not None
        fit = refit(fitting, held_out, matrix, offset, "fitted" if fitted else "none")
        if fit is None:
            return self._leave(layer, "has no better fit on samples held out")
        self.have.weights[layer.weight] = layer.weight_of(fit.matrix, self.have.weights)
        if layer.bias is not None:
            old = self.have.weights[layer.bias]
            self.have.weights[layer.bias] = fit.offset.reshape(old.shape).to(old.dtype)
        self.done.refitted += 1
        return True

    def _offset(self, layer: Layer, matrix: Tensor, sums: Sums, norm: Node | None) -> Tensor:
        if layer.bias is not None:
            return self.have.weights[layer.bias].double().reshape(sums.y.shape)
        if norm is not None:
            # The normalisation that follows takes any offset up in its mean.
            return (sums.y - (matrix @ sums.x.unsqueeze(2)).squeeze(2)) / sums.rows
        return torch.zeros_like(sums.y)

    def _leave(self, layer: Layer, because: str) -> bool:
        self.done.left.append((layer.node.name, because))
        return False

    def _restate_layer(self, layer: Layer, targets: Sequence[Tensor]) -> None:
        """Scales and shifts a layer's outputs to the mean and deviation they had."""
        axis = layer.axis
        want_mean, want_var = _moments(targets, axis)
        have_mean, have_var = _moments(self.have.values(layer.node), axis)
        scale = _ratio(want_var, have_var).sqrt()
        weights = self.have.weights
        weights[layer.weight] = layer.scaled(scale, weights)
        if layer.bias is not None:
            old = weights[layer.bias]
            shifted = old.double() * scale + want_mean - have_mean * scale
            weights[layer.bias] = shifted.to(old.dtype)
        self.done.restated += 1

    def _restate_norm(self, node: Node) -> None:
        """Moves a normalisation's statistics so that it gives the mean and deviation it gave.

        They stay apart from those of the calibration data by as much as they were.
        """
        given = arguments(node)
        mean, var = (self.have.keys.get(getattr(given[each], "name", ""))
                     for each in ("running_mean", "running_var"))  # fmt: skip
        source = given["input"]
        if mean is None or var is None:
            return
        corrected = self.moments.get(source.name)
        targets = self._targets(source)
        if corrected is None and self._reaches(source, targets):
            return
        want_mean, want_var = corrected or _moments(targets, 1)
        have_mean, have_var = _moments(self.have.values(source), 1)
        weights = self.have.weights
        ratio = _ratio(have_var, want_var)
        moved = have_mean - (want_mean - weights[mean].double()) * ratio.sqrt()
        grown = weights[var].double() * ratio
        weights[mean] = moved.to(weights[mean].dtype)
        weights[var] = grown.to(weights[var].dtype)
        self.done.restated += 1

    def _judge(self) -> None:
        want = self.want.outputs()
        self.done.snr_after_db = _snr_db(want, self.have.outputs())
        module = with_weights(self.unfitted, {}).module(check_guards=False)
        got = [flat_outputs(module(*(tensor.clone() for tensor in run))) for run in self.runs]
        self.done.snr_before_db = _snr_db(want, got)


def _norm_after(node: Node) -> Node | None:
    users = list(node.users)
    if len(users) == 1 and operator_name(users[0]) == "aten.batch_norm":
        return users[0]
    return None


def _added_to(node: Node) -> Node | None:
    """What a node's output is added to, if that is all that is done with it."""
    users = list(node.users)
    if len(users) != 1 or operator_name(users[0]) not in ("aten.add", "aten.add_"):
        return None
    given = arguments(users[0])
    pair = [given["self"], given["other"]]
    if given.get("alpha", 1) != 1 or node not in pair:
        return None
    other = pair[1 - pair.index(node)]
    return other if isinstance(other, Node) and other is not node else None


def _moments(values: Sequence[Tensor], axis: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over samples and positions, float64."""
    total = square = torch.zeros(())
    count = 0
    for value in values:
        flat = value.double().movedim(axis, 0).flatten(1)
        total = total + flat.sum(1)
        square = square + flat.square().sum(1)
        count += flat.shape[1]
    mean = total / count
    return mean, (square / count - mean.square()).clamp_min(0)


def _ratio(over: Tensor, under: Tensor) -> Tensor:
    """over / under within bounds; 1 for channels that don't vary."""
    tiny = 1e-12
    dead = (over < tiny) | (under < tiny)
    ratio = (over / under.clamp_min(tiny)).clamp(_MOST_SCALE**-2, _MOST_SCALE**2)
    return torch.where(dead, torch.ones_like(ratio), ratio)


def _snr_db(want: Sequence[Sequence[Tensor]], have: Sequence[Sequence[Tensor]]) -> float:
    """Centred SNR of the worst output that varies; NaN if none does."""
    worst = math.nan
    for place in range(len(want[0])):
        wanted = torch.stack([each[place].double() for each in want])
        got = torch.stack([each[place].double() for each in have])
        signal = float((wanted - wanted.mean(0)).square().sum())
        noise = float((wanted - got).square().sum())
        if wanted.is_floating_point() and signal > 0:
            snr = 10 * math.log10(signal / max(noise, 1e-300))
            worst = snr if math.isnan(worst) else min(worst, snr)
    return worst
