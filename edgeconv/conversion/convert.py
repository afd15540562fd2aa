"""A whole conversion in this process, without server, store or child: model in, files out."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgeconv.base.bundle import scan_bundle
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.calls import Report, StepCall, StepInput, StepOutcome, as_error
from edgeconv.conversion.steps import StepRunner
from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.plan import CALIBRATION, EVALUATION, SOURCE, Plan, PlannedVariant, plan
from edgeconv.recipe.schema import Recipe
from edgeconv.recipe.specs import StepKind
from edgeconv.results.agreement import Agreement
from edgeconv.results.job import Failure, FileResult, VariantResult

_LOG = logging.getLogger(__name__)
_Made = tuple[StepInput, StepOutcome]


def convert(
    source: Path,
    recipe: Recipe,
    out: Path,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    calibration: Path | None = None,
    evaluation: Path | None = None,
    report: Report = lambda fraction, words: None,
) -> list[VariantResult]:
    """Makes a recipe's variants; each verified one's files go to `out`/NAME/.

    Args:
        source: A model's file, or the folder of its files.
        out: Made when it is not there.
        shapes: Whole input shapes by name, for dynamic axes.
        calibration: An npz file with one array per input.
        evaluation: Likewise, with `label` where there are labels. The same path as
            `calibration` is shared: about a quarter of the samples calibrates, the others
            evaluate; see `split.calibration_places`.
        report: Called with a fraction (negative when unknown) and words.

    Returns:
        A result for each variant, refused and failed ones included.

    Raises:
        EdgeconvError: when the model, the data or the shapes can't be used at all.
    """
    with tempfile.TemporaryDirectory() as work:
        conversion = _Conversion(Path(work), report)
        conversion.give(SOURCE, source)
        if calibration is not None:
            conversion.give(CALIBRATION, calibration)
        if evaluation is not None:
            conversion.give(EVALUATION, evaluation)
        steps = plan(
            recipe,
            conversion.inspect(),
            shapes=shapes or {},
            has_calibration=calibration is not None,
            has_evaluation=evaluation is not None,
            same_data=calibration is not None and calibration == evaluation,
        )
        conversion.run(steps)
        made = [conversion.result(variant, out) for variant in steps.variants]
    return made + [
        VariantResult(
            name=refused.name,
            recipe_variant=refused.recipe_variant,
            target=refused.target,
            precision=refused.precision,
            state="refused",
            error=_failure(EdgeconvError.from_json(refused.error)),
        )
        for refused in steps.refused
    ]


class _Conversion:
    """Steps done so far, and what failed."""

    def __init__(self, work: Path, report: Report) -> None:
        self._work = work
        self._report = report
        self._runner = StepRunner()
        self._made: dict[str, _Made] = {}
        self._failed: dict[str, EdgeconvError] = {}
        self._count = 0

    def give(self, name: str, path: Path) -> None:
        """Puts a file or a folder of files where steps find it under `name`."""
        folder = self._fresh("given")
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            shutil.copyfile(file, folder / file.name)
        self._made[name] = StepInput(folder, scan_bundle(folder).digest), StepOutcome()

    def inspect(self) -> Inspection:
        """What the model declares."""
        facts = self._step("inspect", StepKind.INSPECT, "inspect", {}, {"source": SOURCE}, 0)
        return Inspection.model_validate(facts.facts["inspection"])

    def run(self, steps: Plan) -> None:
        """Runs what can be run; a step whose input failed fails with the same error."""
        for step in steps.steps:
            lost = [name for name in step.inputs.values() if name in self._failed]
            if lost:
                self._failed[step.id] = self._failed[lost[0]]
                continue
            try:
                self._step(step.id, step.kind, step.name, step.options, step.inputs, step.seed)
            except Exception as fault:
                # A library's own exceptions too: the other variants are not lost with it.
                if not isinstance(fault, EdgeconvError):
                    _LOG.error("step %s failed", step.name, exc_info=fault)
                self._failed[step.id] = as_error(step.kind, step.name, fault)

    def result(self, variant: PlannedVariant, out: Path) -> VariantResult:
        """The result of a variant; its files are copied when it agrees with the source."""
        error = self._failed.get(variant.verify)
        agreement = None if error else self._made[variant.verify][1].agreement
        if agreement is not None and not agreement.passed:
            error = _lost(variant, agreement)
        effects = [
            effect
            for step in variant.steps
            if step in self._made and (effect := self._made[step][1].effect) is not None
        ]
        result = VariantResult(
            name=variant.name,
            recipe_variant=variant.recipe_variant,
            target=variant.target,
            precision=variant.precision,
            state="failed" if error else "verified",
            error=_failure(error) if error else None,
            road=variant.road,
            effects=tuple(effects),
            agreement=agreement,
            parent=variant.parent,
        )
        return result if error else self._with_files(result, variant, out)

    def _with_files(
        self, result: VariantResult, variant: PlannedVariant, out: Path
    ) -> VariantResult:
        given, outcome = self._made[variant.artifact]
        folder = out / variant.name
        shutil.copytree(given.folder, folder, dirs_exist_ok=True)
        bundle = scan_bundle(folder)
        files = tuple(
            FileResult(
                name=file.name,
                digest=file.digest,
                size_bytes=file.size_bytes,
                path=str(folder / file.name),
            )
            for file in bundle
        )
        return result.model_copy(
            update={
                "files": files,
                "path": str(folder / outcome.facts["file"]),
                "digest": bundle.digest,
                "size_bytes": bundle.size_bytes,
            }
        )

    def _step(
        self,
        step_id: str,
        kind: StepKind,
        name: str,
        options: Mapping[str, object],
        inputs: Mapping[str, str],
        seed: int,
    ) -> StepOutcome:
        call = StepCall(
            kind=kind,
            name=name,
            options=options,
            inputs={role: self._made[given][0] for role, given in inputs.items()},
            folder=self._fresh("made"),
            scratch=self._fresh("scratch"),
            seed=seed,
        )
        outcome = self._runner.run(call, self._report)
        made = StepInput(call.folder, scan_bundle(call.folder).digest, outcome.facts)
        self._made[step_id] = made, outcome
        shutil.rmtree(call.scratch)
        return outcome

    def _fresh(self, stem: str) -> Path:
        self._count += 1
        folder = self._work / f"{self._count:04d}-{stem}"
        folder.mkdir()
        return folder


def _lost(variant: PlannedVariant, agreement: Agreement) -> EdgeconvError:
    bad = [each for each in agreement.outputs if not each.passed]
    words = "; ".join(each.miss() for each in bad)
    notes = " ".join(note.message for note in agreement.notes if note.kind == "flagged")
    return EdgeconvError(
        Reason.AGREEMENT_LOST,
        f"Variant {variant.name!r} does not compute what the source does:"
        f" {words or notes.rstrip('.')}.",
        variant=variant.name,
    )


def _failure(error: EdgeconvError) -> Failure:
    return Failure(reason=error.reason.name, message=error.message, fix=error.fix)
