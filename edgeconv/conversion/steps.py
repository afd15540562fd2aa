"""Runs one step of a plan: folders and facts in, a folder and facts out.

The one place where a planned step meets its implementation; a job child and a plain
script run the same function. What a step declares is checked after each run: signature,
memory, and in full precision that it computes what it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.calls import Report, StepCall, StepInput, StepOutcome
from edgeconv.conversion.evaluation import absent_notes
from edgeconv.conversion.program import Artifact, Context, Program
from edgeconv.conversion.registry import implementation
from edgeconv.conversion.samples import (
    Samples,
    fit_samples,
    inspect_arrays,
    read_arrays,
)
from edgeconv.recipe.signature import Signature
from edgeconv.recipe.specs import (
    Options,
    ReferenceOptions,
    ShapeOptions,
    StepKind,
    VerifyOptions,
    spec_of,
)
from edgeconv.results.effect import Effect

__all__ = ["Report", "StepCall", "StepInput", "StepOutcome", "StepRunner"]


class StepRunner:
    """Runs steps one after another; keeps the last Program so that it is not read again."""

    def __init__(self) -> None:
        self._programs: dict[Path, Program] = {}
        self._outputs: dict[tuple[Path, Path], Mapping[str, NDArray[Any]]] = {}

    def run(self, call: StepCall, report: Report) -> StepOutcome:
        """Runs a step.

        Raises:
            EdgeconvError: with the reason of the step; anything else is a fault.
        """
        options = spec_of(call.kind, call.name).options.model_validate(dict(call.options))
        return _RUN[call.kind](self, call, options, report)

    def _inspect(self, call: StepCall, options: Options, report: Report) -> StepOutcome:
        from edgeconv.conversion.intake import inspect_source

        report(-1.0, "reading the model")
        inspection = inspect_source(call.inputs["source"].folder)
        return StepOutcome({"inspection": inspection.model_dump(mode="json")})

    def _inspect_dataset(self, call: StepCall, options: Options, report: Report) -> StepOutcome:
        arrays = read_arrays(call.inputs["source"].folder)
        inspection = inspect_arrays(arrays)
        return StepOutcome({"inspection": inspection.model_dump(mode="json")})

    def _intake(self, call: StepCall, options: ShapeOptions, report: Report) -> StepOutcome:
        from edgeconv.conversion.intake import take_in

        source = call.inputs["source"]
        program, effect = take_in(source.folder, source.digest, options.shapes, report)
        self._keep(call.folder, program)
        if "reference" in call.inputs:
            from edgeconv.conversion.road_proof import program_outputs, proven, source_outputs

            report(-1.0, "comparing the Program with the source")
            reference = call.inputs["reference"]
            made = program_outputs(self._program(call.folder), reference)
            effect = proven(call.name, effect, source_outputs(reference), made)
        return StepOutcome({"signature": program.signature.model_dump(mode="json")}, effect)

    def _reference(self, call: StepCall, options: ReferenceOptions, report: Report) -> StepOutcome:
        from edgeconv.conversion.reference import make_reference

        facts = make_reference(call, options, report)
        return StepOutcome(facts)

    def _direct(self, call: StepCall, options: ShapeOptions, report: Report) -> StepOutcome:
        from edgeconv.conversion.direct import take_directly

        source = call.inputs["source"]
        artifact, effect = take_directly(source.folder, source.digest, options.shapes, call.folder)
        return StepOutcome(artifact.facts(), effect)

    def _pass(self, call: StepCall, options: Options, report: Report) -> StepOutcome:
        before = self._program(call.inputs["program"].folder)
        context = self._context(call, options, before.signature, report)
        program, effect = implementation(call.kind, call.name).apply(before, options, context)
        effect = _with_absent_classes(effect, context.calibration)
        _check_signature(call.name, before.signature, program.signature)
        _check_contiguous(call.name, program)
        self._keep(call.folder, program)
        return StepOutcome({"signature": program.signature.model_dump(mode="json")}, effect)

    def _lowering(self, call: StepCall, options: Options, report: Report) -> StepOutcome:
        program = self._program(call.inputs["program"].folder)
        context = self._context(call, options, program.signature, report)
        reference = call.inputs.get("reference")
        # Before the lowering, whose libraries may write into what they are given.
        expected = self._expected(call, program, reference, report) if reference else {}
        artifact, effect = implementation(call.kind, call.name).apply(program, options, context)
        _check_signature(call.name, program.signature, artifact.signature)
        if reference:
            from edgeconv.conversion.road_proof import artifact_outputs, proven

            report(-1.0, "comparing the file with its Program")
            effect = proven(call.name, effect, expected, artifact_outputs(artifact, reference))
        return StepOutcome(artifact.facts(), effect)

    def _expected(
        self, call: StepCall, program: Program, reference: StepInput, report: Report
    ) -> Mapping[str, NDArray[Any]]:
        """What the Program computes; the last is kept, for its next target."""
        from edgeconv.conversion.road_proof import program_outputs

        folders = call.inputs["program"].folder, reference.folder
        if folders not in self._outputs:
            report(-1.0, "running the Program")
            self._outputs = {folders: program_outputs(program, reference)}
        return self._outputs[folders]

    def _finish(self, call: StepCall, options: Options, report: Report) -> StepOutcome:
        given = call.inputs["artifact"]
        before = Artifact.from_facts(given.folder, dict(given.facts))
        context = self._context(call, options, before.signature, report)
        artifact, effect = implementation(call.kind, call.name).apply(before, options, context)
        effect = _with_absent_classes(effect, context.calibration)
        _check_signature(call.name, before.signature, artifact.signature)
        return StepOutcome(artifact.facts(), effect)

    def _verify(self, call: StepCall, options: VerifyOptions, report: Report) -> StepOutcome:
        from edgeconv.conversion.verify import verify

        given = call.inputs["artifact"]
        artifact = Artifact.from_facts(given.folder, dict(given.facts))
        agreement = verify(artifact, call, options, report)
        return StepOutcome({}, None, agreement)

    def _program(self, folder: Path) -> Program:
        if folder not in self._programs:
            self._programs = {folder: Program.load(folder)}
        return self._programs[folder]

    def _keep(self, folder: Path, program: Program) -> None:
        program.save(folder)
        # Read back on use: what later steps see is what was stored.
        self._programs.pop(folder, None)

    @staticmethod
    def _context(call: StepCall, options: Options, signature: Signature, report: Report) -> Context:
        calibration: Samples | None = None
        if "calibration" in call.inputs:
            arrays = read_arrays(call.inputs["calibration"].folder)
            samples = fit_samples(arrays, signature.inputs)
            calibration = samples.split(getattr(options, "split", "all"))
        return Context(
            folder=call.folder,
            scratch=call.scratch,
            seed=call.seed,
            calibration=calibration,
            report=report,
        )


def _with_absent_classes(effect: Effect, calibration: Samples | None) -> Effect:
    notes = absent_notes(calibration, "calibrates") if calibration else []
    return effect.model_copy(update={"notes": (*effect.notes, *notes)})


def _check_signature(name: str, before: Signature, after: Signature) -> None:
    changed = before.differences(after)
    if changed:
        raise EdgeconvError(
            Reason.SIGNATURE_CHANGED,
            f"Step {name!r} changed the signature: {'; '.join(changed)}.",
            step=name,
        )


def _check_contiguous(name: str, program: Program) -> None:
    exported = program.exported
    for key, tensor in {**exported.state_dict, **exported.constants}.items():
        if hasattr(tensor, "is_contiguous") and not tensor.is_contiguous():
            raise EdgeconvError(
                Reason.INTERNAL, f"{name} left tensor {key!r} not contiguous.", tensor=key
            )


_RUN: dict[StepKind, Callable[[StepRunner, StepCall, Any, Report], StepOutcome]] = {
    StepKind.INSPECT: StepRunner._inspect,
    StepKind.INSPECT_DATASET: StepRunner._inspect_dataset,
    StepKind.INTAKE: StepRunner._intake,
    StepKind.REFERENCE: StepRunner._reference,
    StepKind.DIRECT: StepRunner._direct,
    StepKind.PASS: StepRunner._pass,
    StepKind.LOWERING: StepRunner._lowering,
    StepKind.FINISH: StepRunner._finish,
    StepKind.VERIFY: StepRunner._verify,
}
