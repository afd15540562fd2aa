"""From a recipe and an inspection to a DAG of steps. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from edgeconv.base.digests import canonical_json
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.schema import Recipe, VariantSpec
from edgeconv.recipe.signature import resolve_shapes
from edgeconv.recipe.specs import (
    Int8StaticOptions,
    Need,
    Options,
    PruneOptions,
    ReferenceOptions,
    ShapeOptions,
    StepKind,
    VerifyOptions,
    spec_of,
)

SOURCE = "source"
"""Stands for the model's files where a step names its inputs."""
CALIBRATION = "data:calibration"
EVALUATION = "data:evaluation"

_FINISH = {
    "fp16": "fp16",
    "int8": "int8-static",
    "int8-dynamic": "int8-dynamic",
    "int8-weights": "int8-weights",
}


class PlannedStep(BaseModel):
    """A node of the plan.

    Attributes:
        id: Unique in the plan; for people and events.
        options: Canonical: all defaults filled in.
        inputs: Role → id of another step, or SOURCE, CALIBRATION or EVALUATION.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: StepKind
    name: str
    options: dict[str, Any]
    inputs: dict[str, str]
    seed: int


class PlannedVariant(BaseModel):
    """A variant for one target.

    Attributes:
        name: "int8.tflite".
        road: "direct" or "program".
        steps: Ids of the steps that its effects come from, in order.
        artifact: Id of the step whose bundle is the artifact.
        verify: Id of the step that verifies it.
        parent: Name of the variant it is compared with; empty if none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    recipe_variant: str
    target: str
    precision: str
    road: str
    steps: tuple[str, ...]
    artifact: str
    verify: str
    parent: str = ""


class RefusedVariant(BaseModel):
    """A variant that the recipe and the data at hand don't allow, with the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    recipe_variant: str
    target: str
    precision: str
    error: dict[str, Any]


class Plan(BaseModel):
    """Steps in an order in which they can run, and the variants they make.

    Attributes:
        reference: Id of the step with samples and reference outputs.
        notes: What a user should know, sentences.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: tuple[PlannedStep, ...]
    variants: tuple[PlannedVariant, ...]
    refused: tuple[RefusedVariant, ...]
    reference: str
    notes: tuple[str, ...] = ()


def plan(
    recipe: Recipe,
    inspection: Inspection,
    *,
    shapes: Mapping[str, Sequence[int]],
    has_calibration: bool,
    has_evaluation: bool,
    same_data: bool = False,
    samples: int | None = None,
) -> Plan:
    """The steps that make the recipe's variants; shared prefixes appear once.

    Args:
        shapes: Whole input shapes by name, for dynamic axes.
        same_data: Calibration and evaluation are one dataset: about a quarter of the
            samples, of each class alike, goes to calibration, the others to evaluation.
        samples: How many it has, to be told in the notes.

    Raises:
        EdgeconvError: SHAPE_INVALID, DIMENSION_UNKNOWN.
    """
    resolved = resolve_shapes(inspection.inputs, shapes, inspection.ranges)
    builder = _Builder(recipe, inspection, resolved, has_calibration, has_evaluation, same_data)
    made = builder.build()
    return made.model_copy(update={"notes": _split_notes(samples)}) if builder.split else made


def _split_notes(samples: int | None) -> tuple[str, ...]:
    size = "the" if samples is None else f"its {samples}"
    return (
        f"One dataset serves both: about a quarter of {size} samples, by class where there are"
        " labels, calibrates; the others evaluate.",
    )


class _Builder:
    def __init__(
        self,
        recipe: Recipe,
        inspection: Inspection,
        shapes: dict[str, tuple[int, ...]],
        has_calibration: bool,
        has_evaluation: bool,
        same_data: bool,
    ) -> None:
        self._recipe = recipe
        self._inspection = inspection
        self._shapes = shapes
        self._has_calibration = has_calibration
        self._has_evaluation = has_evaluation
        self.split = same_data and has_calibration and has_evaluation
        self._steps: dict[str, PlannedStep] = {}
        self._by_content: dict[str, str] = {}

    def build(self) -> Plan:
        reference = self._reference()
        variants: list[PlannedVariant] = []
        refused: list[RefusedVariant] = []
        for name, spec in self._recipe.variants.items():
            for target in spec.targets or self._recipe.targets:
                error = self._refusal(name, spec)
                if error is None:
                    variants.append(self._variant(name, spec, target, reference))
                else:
                    refused.append(
                        RefusedVariant(
                            name=f"{name}.{target}",
                            recipe_variant=name,
                            target=target,
                            precision=spec.precision,
                            error=error.to_json(),
                        )
                    )
        return Plan(
            steps=tuple(self._steps.values()),
            variants=tuple(self._with_parents(variants)),
            refused=tuple(refused),
            reference=reference,
        )

    def _reference(self) -> str:
        options = ReferenceOptions(
            shapes=self._shapes,
            split="held-out" if self.split else "all",
            seed=self._recipe.seed,
        )
        inputs = {"source": SOURCE}
        if self._has_evaluation:
            inputs["evaluation"] = EVALUATION
        return self._add("reference", StepKind.REFERENCE, "reference", options, inputs)

    def _refusal(self, name: str, spec: VariantSpec) -> EdgeconvError | None:
        for kind, step, options in self._stages(spec):
            if Need.CALIBRATION in spec_of(kind, step).needs(options) and not self._has_calibration:
                fix = "Give --data FILE.npz with one array per input, or `data.calibration`"
                if isinstance(options, PruneOptions):
                    fix += f"; without data only `recover: none` can be asked of {step}"
                return EdgeconvError(
                    Reason.DATA_NEEDED,
                    f"Variant {name!r} needs calibration data for {step}.",
                    fix=f"{fix}.",
                    variant=name,
                    step=step,
                )
        return None

    def _stages(self, spec: VariantSpec) -> list[tuple[StepKind, str, Options]]:
        stages: list[tuple[StepKind, str, Options]] = []
        for use in spec.passes:
            options = use.parsed()
            if self.split and isinstance(options, PruneOptions):
                options = options.model_copy(update={"split": "calibration"})
            stages.append((StepKind.PASS, use.name, options))
        finish = _FINISH.get(spec.precision)
        if finish == "int8-static":
            options = Int8StaticOptions(
                method=spec.calibration.method,
                percentile=spec.calibration.percentile,
                split="calibration" if self.split else "all",
            )
            stages.append((StepKind.FINISH, finish, options))
        elif finish is not None:
            stages.append((StepKind.FINISH, finish, spec_of(StepKind.FINISH, finish).options()))
        return stages

    def _variant(self, name: str, spec: VariantSpec, target: str, reference: str) -> PlannedVariant:
        stages = self._stages(spec)
        direct = self._inspection.format == "onnx" and target == "onnx" and not spec.passes
        chain: list[str] = []
        shapes = ShapeOptions(shapes=self._shapes)
        if direct:
            chain.append(self._add("direct", StepKind.DIRECT, "direct", shapes, {"source": SOURCE}))
        else:
            # The road is proven step by step, on samples that the source itself ran on.
            inputs = {"source": SOURCE, "reference": reference}
            chain.append(self._add("intake", StepKind.INTAKE, "intake", shapes, inputs))
            chain += self._chain(name, stages, StepKind.PASS, chain[-1])
            lowering = spec_of(StepKind.LOWERING, target)
            inputs = {"program": chain[-1], "reference": reference}
            step_id = f"{name}/{target}"
            options = lowering.options()
            chain.append(self._add(step_id, StepKind.LOWERING, target, options, inputs))
        chain += self._chain(f"{name}.{target}", stages, StepKind.FINISH, chain[-1])
        bounds = VerifyOptions(
            precision=spec.precision,
            split="held-out" if self.split else "all",
            lossy=bool(spec.passes),
            min_snr_db=spec.min_snr_db,
            max_drop=spec.max_drop,
        )
        inputs = {"artifact": chain[-1], "reference": reference}
        if self._has_evaluation:
            inputs["evaluation"] = EVALUATION
        verify = self._add(f"{name}.{target}/verify", StepKind.VERIFY, "verify", bounds, inputs)
        return PlannedVariant(
            name=f"{name}.{target}",
            recipe_variant=name,
            target=target,
            precision=spec.precision,
            road="direct" if direct else "program",
            steps=tuple(chain),
            artifact=chain[-1],
            verify=verify,
        )

    def _chain(
        self,
        prefix: str,
        stages: Sequence[tuple[StepKind, str, Options]],
        kind: StepKind,
        before: str,
    ) -> list[str]:
        chain: list[str] = []
        role = "program" if kind is StepKind.PASS else "artifact"
        for stage_kind, step, options in stages:
            if stage_kind is not kind:
                continue
            inputs = {role: chain[-1] if chain else before}
            if Need.CALIBRATION in spec_of(kind, step).needs(options):
                inputs["calibration"] = CALIBRATION
            chain.append(self._add(f"{prefix}/{step}", kind, step, options, inputs))
        return chain

    def _add(
        self, step_id: str, kind: StepKind, name: str, options: Options, inputs: dict[str, str]
    ) -> str:
        filled = options.model_dump(mode="json")
        content = canonical_json([kind, name, filled, inputs])
        if content in self._by_content:
            return self._by_content[content]
        step_id = self._unused(step_id)
        self._by_content[content] = step_id
        self._steps[step_id] = PlannedStep(
            id=step_id,
            kind=kind,
            name=name,
            options=filled,
            inputs=inputs,
            seed=self._recipe.seed,
        )
        return step_id

    def _unused(self, step_id: str) -> str:
        """The id, numbered where a variant has a step of that name before."""
        ids = itertools.chain([step_id], (f"{step_id}-{n}" for n in itertools.count(2)))
        return next(each for each in ids if each not in self._steps)

    def _with_parents(self, variants: list[PlannedVariant]) -> list[PlannedVariant]:
        specs = self._recipe.variants
        by_content = {
            (variant.target, variant.precision, canonical_json(_passes(specs, variant))): variant
            for variant in reversed(variants)
        }
        found = []
        for variant in variants:
            passes = canonical_json(_passes(specs, variant))
            candidates = [
                (variant.target, variant.precision, "[]"),
                (variant.target, "fp32", passes),
                (variant.target, "fp32", "[]"),
            ]
            parent = next(
                (
                    by_content[key].name
                    for key in candidates
                    if key in by_content and by_content[key].name != variant.name
                ),
                "",
            )
            if variant.precision == "fp32" and passes == "[]":
                parent = ""
            found.append(variant.model_copy(update={"parent": parent}))
        return found


def _passes(specs: Mapping[str, VariantSpec], variant: PlannedVariant) -> list[Any]:
    return [use.model_dump(mode="json") for use in specs[variant.recipe_variant].passes]
