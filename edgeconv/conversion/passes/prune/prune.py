"""The pruning pass: walk, choose, rewrite, prove, recover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch.export import ExportedProgram

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.passes.prune.activity import measure_activity
from edgeconv.conversion.passes.prune.macs import count_macs, count_parameters
from edgeconv.conversion.passes.prune.masks import Kept
from edgeconv.conversion.passes.prune.plan import (
    PrunePlan,
    make_plan,
    named,
    notes_of,
    shortfall_notes,
)
from edgeconv.conversion.passes.prune.proof import (
    BOUND,
    failing,
    prove,
    seeded_runs,
    unvaried_outputs,
)
from edgeconv.conversion.passes.prune.recovery import (
    Mode,
    Recovered,
    Run,
    recover,
    samples_that_fit,
)
from edgeconv.conversion.passes.prune.rewrite import rewrite, with_weights
from edgeconv.conversion.program import Applicability, Context, Program
from edgeconv.recipe.specs import PruneOptions, StepKind, StepSpec, spec_of
from edgeconv.results.effect import Effect, Note
from edgeconv.results.lineage import LineageStep

_ACTIVITY_SAMPLES = 64
_NOT_REFITTED = Note(
    kind="fallback",
    subject="recover",
    message="What is left was not refitted (recover: none): give --data to refit it on samples.",
)


class Prune:
    """Removes whole channels and, with data, refits what is left."""

    spec: ClassVar[StepSpec] = spec_of(StepKind.PASS, "prune")

    def applicability(self, program: Program, options: PruneOptions) -> Applicability:
        """Walks the graph; applicable if anything would go."""
        plan = make_plan(program, options)
        return Applicability(plan.channels_removed > 0, notes_of(plan, options.round_to))

    def apply(
        self, program: Program, options: PruneOptions, context: Context
    ) -> tuple[Program, Effect]:
        """The smaller program.

        Raises:
            EdgeconvError: NOTHING_TO_DO if no channel can go; DATA_NEEDED if recovery is
                asked for without calibration data; INTERNAL if the proof fails.
        """
        runs = _calibration_runs(program, options, context)
        context.report(0.0, "following the channels")
        some = runs[:_ACTIVITY_SAMPLES]
        activity = measure_activity(program.exported, some, options.importance) if some else None
        plan = make_plan(program, options, activity)
        if not plan.channels_removed:
            raise _nothing(plan, options)
        kept = Kept(plan.walk, plan.all_dropped)
        context.report(0.1, "removing channels")
        pruned = rewrite(program.exported, kept)
        context.report(0.2, "proving")
        error, weak = _prove(program, pruned, plan, kept, context)
        figures = _figures(program.exported, pruned, plan, error)
        notes = [*shortfall_notes(plan, options), *notes_of(plan, options.round_to), *weak]
        if options.recover == "none":
            notes.append(_NOT_REFITTED)
        else:
            done = _recover(program, pruned, kept, runs, options.recover, context)
            pruned = with_weights(pruned, done.weights)
            figures.update(_recovery_figures(done))
            names = {node.name: plan.walk.name(node) for node in pruned.graph.nodes}
            notes.extend(_recovery_notes(done, len(context.calibration or ()), names))
        effect = _effect(figures, notes)
        step = LineageStep(
            kind=self.spec.kind.value,
            name=self.spec.name,
            revision=self.spec.revision,
            options=options.model_dump(mode="json"),
            seed=context.seed,
            effect=effect,
        )
        return program.then(pruned, step), effect


def _calibration_runs(program: Program, options: PruneOptions, context: Context) -> list[Run]:
    """As many calibration samples as memory allows, a seeded choice in their order."""
    samples = context.calibration
    if samples is None or not len(samples):
        if options.recover == "none":
            return []
        raise EdgeconvError(
            Reason.DATA_NEEDED,
            f"Pruning with recover: {options.recover} needs calibration data.",
            fix="Give calibration data, or say recover: none.",
            option="recover",
        )
    count = samples_that_fit(program.exported, len(samples))
    places = np.random.default_rng(context.seed).permutation(len(samples))[:count]
    names = [spec.name for spec in program.signature.inputs]
    return [
        [torch.from_numpy(np.array(sample[name])) for name in names]
        for sample in samples.take(sorted(places.tolist()))
    ]


def _prove(
    program: Program, pruned: ExportedProgram, plan: PrunePlan, kept: Kept, context: Context
) -> tuple[float, list[Note]]:
    """The error of the proof, and notes on outputs of which it says little."""
    runs = seeded_runs(program.exported, program.signature, context.calibration, context.seed)
    error = prove(program.exported, pruned, kept, runs)
    if error <= BOUND:
        names = [spec.name for spec in program.signature.outputs]
        places = unvaried_outputs(program.exported, kept, runs)
        return error, [_weak(names[place], len(runs)) for place in places]

    def holds(place: int) -> bool:
        alone = Kept(plan.walk, plan.dropped[place])
        return prove(program.exported, rewrite(program.exported, alone), alone, runs) <= BOUND

    raise failing([", ".join(group.layers) for group in plan.groups], holds)


def _weak(output: str, runs: int) -> Note:
    message = (
        f"It is the same for all {runs} inputs of the proof that only removed channels make a"
        " difference: the proof says little for it."
    )
    return Note(kind="flagged", subject=output, message=message)


def _recover(
    program: Program,
    pruned: ExportedProgram,
    kept: Kept,
    runs: Sequence[Run],
    mode: Mode,
    context: Context,
) -> Recovered:
    def report(fraction: float) -> None:
        context.report(0.3 + 0.7 * fraction, "refitting")

    return recover(program.exported, pruned, kept, runs, mode, seed=context.seed, report=report)


def _figures(
    before: ExportedProgram, pruned: ExportedProgram, plan: PrunePlan, error: float
) -> dict[str, float]:
    return {
        "channels_before": plan.channels_before,
        "channels_removed": plan.channels_removed,
        "groups": len(plan.groups),
        "groups_pruned": plan.groups_pruned,
        "macs_before": count_macs(before),
        "macs_after": count_macs(pruned),
        "parameters_before": count_parameters(before),
        "parameters_after": count_parameters(pruned),
        "proof_error": error,
    }


def _recovery_figures(done: Recovered) -> dict[str, float]:
    """Without an SNR where no output varies: figures are finite."""
    figures = {
        "layers_refitted": float(done.refitted),
        "statistics_matched": float(done.restated),
        "recovery_samples": float(done.samples),
        "snr_before_recovery_db": done.snr_before_db,
        "snr_after_recovery_db": done.snr_after_db,
    }
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def _effect(figures: dict[str, float], notes: list[Note]) -> Effect:
    share = 1 - figures["macs_after"] / max(figures["macs_before"], 1)
    return Effect(
        step="prune",
        summary=(
            f"Removed {figures['channels_removed']:.0f} of {figures['channels_before']:.0f}"
            f" channels in {figures['groups_pruned']:.0f} of {figures['groups']:.0f} groups:"
            f" {share:.0%} fewer MACs."
        ),
        changed=int(figures["channels_removed"]),
        figures=figures,
        notes=tuple(notes),
    )


def _recovery_notes(done: Recovered, available: int, names: Mapping[str, str]) -> list[Note]:
    notes = []
    by_reason: dict[str, list[str]] = defaultdict(list)
    for where, because in done.left:
        by_reason[because].append(names[where])
    for because, found in by_reason.items():
        message = f"{len(found)} of the layers keep their weights in the refit: each {because}."
        notes.append(Note(kind="fallback", subject=named(found), message=message))
    if done.samples < available:
        message = f"Recovery used {done.samples} of {available} samples, to stay within memory."
        notes.append(Note(kind="info", subject="calibration", message=message))
    if done.too_few:
        message = (
            f"{done.samples} samples are too few for a least-squares refit: only statistics"
            " were matched."
        )
        notes.append(Note(kind="fallback", subject="recover", message=message))
    if done.given_up:
        message = (
            "Recovery made the outputs worse on calibration data and was taken back:"
            f" {done.snr_after_db:.1f} dB after it, {done.snr_before_db:.1f} dB before."
        )
        notes.append(Note(kind="fallback", subject="recover", message=message))
    return notes


def _nothing(plan: PrunePlan, options: PruneOptions) -> EdgeconvError:
    notes = notes_of(plan, options.round_to)
    why = " ".join(f"{note.subject}: {note.message}" for note in notes) or (
        "no layer makes channels that another one takes."
    )
    return EdgeconvError(
        Reason.NOTHING_TO_DO,
        f"There is nothing to prune: {why}",
        fix="Raise the ratio, or lower round_to.",
        ratio=options.ratio,
        round_to=options.round_to,
    )
