"""The proof: the pruned program equals the original with the dropped slices zeroed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule

from edgeconv.analysis.agreement import compare
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.passes.prune.graph import (
    arguments,
    flat_outputs,
    operator_name,
    shape_of,
    weight_tensor,
)
from edgeconv.conversion.passes.prune.masks import Kept
from edgeconv.conversion.passes.prune.rewrite import with_weights
from edgeconv.conversion.samples import Samples, synthesize
from edgeconv.recipe.signature import Signature

BOUND = 1e-5
_RUNS = 2

Inputs = Sequence[torch.Tensor]


def prove(
    exported: ExportedProgram,
    pruned: ExportedProgram,
    kept: Kept,
    runs: Sequence[Inputs],
) -> float:
    """The largest error of any output over the runs, as a share of its largest value.

    Where float32 noise goes beyond the bound, the same is computed in float64.
    """
    zeroed = with_weights(exported, kept.zeroed())
    error = _error(zeroed, pruned, runs, torch.float32)
    if error > BOUND:
        try:
            return _error(zeroed, pruned, runs, torch.float64)
        except RuntimeError:
            # A graph that names float32 itself can't run in float64: the first answer stands.
            return error
    return error


def unvaried_outputs(exported: ExportedProgram, kept: Kept, runs: Sequence[Inputs]) -> list[int]:
    """Places of the outputs that the zeroed original gives alike for all runs.

    Where an output is saturated or constant, a fault before it does not reach it.
    """
    with _runnable(with_weights(exported, kept.zeroed()), torch.float32) as before:
        made = [flat_outputs(before(*_copies(inputs))) for inputs in runs]
    return [
        place
        for place, first in enumerate(made[0])
        if all(_difference(first, other[place]) <= BOUND for other in made[1:])
    ]


def seeded_runs(
    exported: ExportedProgram, signature: Signature, calibration: Samples | None, seed: int
) -> list[Inputs]:
    """Random inputs; integers are drawn small enough for every look-up table."""
    most = _smallest_table(exported)
    runs: list[Inputs] = []
    for sample in synthesize(signature.inputs, count=_RUNS, seed=seed):
        tensors = [torch.from_numpy(sample[spec.name]) for spec in signature.inputs]
        runs.append([t if t.is_floating_point() or t.dtype is torch.bool else t.remainder(most)
                     for t in tensors])  # fmt: skip
    if calibration is not None and len(calibration):
        real = next(iter(calibration))
        runs.append([torch.from_numpy(real[spec.name]) for spec in signature.inputs])
    return runs


def failing(names: Sequence[str], holds: Callable[[int], bool]) -> EdgeconvError:
    """The error for a proof that does not hold, naming the groups that break it alone."""
    broken = [name for place, name in enumerate(names) if not holds(place)]
    which = "; ".join(broken) or "none alone, several together"
    return EdgeconvError(
        Reason.INTERNAL,
        "The pruned program does not equal the original with the removed channels zeroed;"
        f" groups that break it: {which}.",
        groups=which,
    )


def _smallest_table(exported: ExportedProgram) -> int:
    sizes = [shape_of(arguments(node)["weight"])[0] for node in exported.graph.nodes
             if node.op == "call_function" and operator_name(node) == "aten.embedding"]  # fmt: skip
    return min([*sizes, 100])


def _error(
    original: ExportedProgram, pruned: ExportedProgram, runs: Sequence[Inputs], dtype: torch.dtype
) -> float:
    worst = 0.0
    with _runnable(original, dtype) as before, _runnable(pruned, dtype) as after:
        for inputs in runs:
            cast = [t.to(dtype) if t.dtype is torch.float32 else t for t in inputs]
            pairs = zip(
                flat_outputs(before(*_copies(cast))),
                flat_outputs(after(*_copies(cast))),
                strict=True,
            )
            for want, got in pairs:
                worst = max(worst, _difference(want, got))
    return worst


def _difference(want: torch.Tensor, got: torch.Tensor) -> float:
    if want.shape != got.shape:
        return float("inf")
    if not want.is_floating_point():
        return float((want != got).any())
    if not want.numel():
        return 0.0
    if not bool(want.isfinite().all() & got.isfinite().all()):
        # An output that is not finite proves nothing.
        return float("inf")
    figures = compare(want.double().numpy()[None], got.double().numpy()[None])
    off = figures.max_abs_error / (figures.max_abs_reference or 1.0)
    return max(off, figures.mask_error)


def _copies(inputs: Inputs) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in inputs]


@contextmanager
def _runnable(exported: ExportedProgram, dtype: torch.dtype) -> Iterator[GraphModule]:
    if dtype is not torch.float32:
        keys = {**exported.state_dict, **exported.constants}
        wide = {key: weight_tensor(exported, key).detach().to(dtype) for key, tensor in keys.items()
                if isinstance(tensor, torch.Tensor) and tensor.dtype is torch.float32}  # fmt: skip
        exported = with_weights(exported, wide)
    with torch.no_grad():
        yield exported.module(check_guards=False)
