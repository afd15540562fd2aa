"""Any text as a recipe, and any recipe as a plan."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from edgeconv.base.digests import canonical_json
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.cli.convert_request import recipe_yaml
from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.plan import CALIBRATION, EVALUATION, SOURCE, Plan, plan
from edgeconv.recipe.schema import Recipe, parse_recipe
from edgeconv.recipe.signature import DeclaredTensor, DType
from edgeconv.recipe.specs import StepKind

PIECES = st.sampled_from(
    [
        "version", "variants", "fp32", ": ", "{", "}", "[", "]", ", ", "- ", "\n", "\n  ", "| ",
        "> ", "? ", "'", '"', "#", "&a ", "*a", "<<: ", "---\n", "%YAML 9.9\n", "\t", "\x00",
        "!!int ", "!!float ", "!!bool ", "!!timestamp ", "!!binary ", "!!set ", "!!omap ",
        "!!python/object:os.system ", "2001-13-45", "2001-01-01T99:99:99Z", "9" * 5000, "0b2",
        "0x", "190:20:30", ".nan", ".inf", "1e999", "-1", "~", "true", "precision", "int8",
        "passes", "prune", "ratio", "50%", "x%", "calibration", "targets", "onnx", "min_snr_db",
        "max_drop", "\ud800", "é",
    ]
)  # fmt: skip
FLOATS = st.floats(0, 1).map(lambda value: round(value, 4))
PASS = st.fixed_dictionaries(
    {"ratio": FLOATS.filter(lambda ratio: 0 < ratio < 1)},
    optional={
        "recover": st.sampled_from(["none", "batchnorm", "least-squares"]),
        "importance": st.sampled_from(["l1", "l2"]),
        "round_to": st.integers(1, 64),
    },
)
TARGETS = st.lists(st.sampled_from(["onnx", "tflite"]), min_size=1, max_size=2, unique=True)
VARIANT = st.fixed_dictionaries(
    {},
    optional={
        "passes": st.lists(PASS.map(lambda options: {"prune": options}), max_size=3),
        "precision": st.sampled_from(["fp32", "fp16", "int8", "int8-dynamic", "int8-weights"]),
        "calibration": st.fixed_dictionaries(
            {"method": st.sampled_from(["minmax", "percentile"])},
            optional={"percentile": st.floats(51, 100)},
        ),
        "targets": TARGETS,
        "min_snr_db": st.floats(-10, 100),
        "max_drop": FLOATS,
    },
)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,6}", fullmatch=True)
RECIPES = st.fixed_dictionaries(
    {"variants": st.dictionaries(NAMES, VARIANT, min_size=1, max_size=6)},
    optional={"targets": TARGETS, "seed": st.integers(0, 2**32 - 1), "version": st.just(1)},
)


def planned(
    data: dict[str, Any], form: str, calibration: bool, evaluation: bool, *, same: bool = False
) -> Plan:
    tensor = DeclaredTensor(name="x", dtype=DType.FLOAT32, shape=("n", 3))
    inspection = Inspection(
        format=form, inputs=(tensor,), outputs=(), parameters=0, weights_bytes=0, operators={}
    )
    return plan(
        Recipe.model_validate(data), inspection, shapes={}, has_calibration=calibration,
        has_evaluation=evaluation, same_data=same,
    )  # fmt: skip


@given(st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join)))
@example("variants: {a: {min_snr_db: .nan}}")
@example("variants: {a: {min_snr_db: .inf}}")
@example("seed: 2001-13-45")
@example("seed: !!int ''")
@example("seed: !!bool ''")
@example("seed: !!timestamp x")
@example("seed: " + "9" * 5000)
@example("variants: {a: {targets: [onnx, onnx]}}")
@example("targets: [onnx, onnx]\nvariants: {a: {}}")
@example("[" * 60_000)
@example("- " * 30_000)
@example("{a: " * 15_000)
@example("[" * 33 + "]" * 33)
def test_any_text_is_a_recipe_or_refused_as_one(text: str) -> None:
    try:
        recipe = parse_recipe(text)
    except EdgeconvError as error:
        refused: EdgeconvError | None = error
    else:
        refused = None
    if refused is not None:
        assert refused.reason is Reason.RECIPE_INVALID
        assert refused.violations
        return
    # What can't be digested would fail in the middle of a job.
    assert canonical_json(recipe.model_dump(mode="json"))
    for spec in recipe.variants.values():
        targets = spec.targets or recipe.targets
        assert len(set(targets)) == len(targets)


@given(RECIPES)
def test_a_recipe_written_out_is_the_same_recipe(data: dict[str, Any]) -> None:
    recipe = Recipe.model_validate(data)
    assert parse_recipe(recipe_yaml(recipe)) == recipe
    assert parse_recipe(yaml.safe_dump(data)) == recipe


@given(RECIPES, st.sampled_from(["onnx", "pt2"]), st.booleans(), st.booleans())
def test_a_plan_runs_in_its_order_and_reaches_every_variant(
    data: dict[str, Any], form: str, calibration: bool, evaluation: bool
) -> None:
    made = planned(data, form, calibration, evaluation)
    steps = {step.id: step for step in made.steps}
    assert len(steps) == len(made.steps)
    known = {SOURCE}
    known |= {CALIBRATION} if calibration else set()
    known |= {EVALUATION} if evaluation else set()
    for step in made.steps:
        assert set(step.inputs.values()) <= known, step
        known.add(step.id)
    recipe = Recipe.model_validate(data)
    wanted = [
        f"{name}.{target}"
        for name, spec in recipe.variants.items()
        for target in spec.targets or recipe.targets
    ]
    assert sorted([each.name for each in (*made.variants, *made.refused)]) == sorted(wanted)
    assert reached(made, steps) == set(steps)


@given(RECIPES, st.sampled_from(["onnx", "pt2"]))
def test_every_variant_goes_through_what_its_recipe_says(data: dict[str, Any], form: str) -> None:
    made = planned(data, form, True, True)
    steps = {step.id: step for step in made.steps}
    recipe = Recipe.model_validate(data)
    for variant in made.variants:
        spec = recipe.variants[variant.recipe_variant]
        chain = [steps[each] for each in variant.steps]
        for before, after in itertools.pairwise(chain):
            assert before.id in after.inputs.values()
        passes = [step.options for step in chain if step.kind is StepKind.PASS]
        assert passes == [use.parsed().model_dump(mode="json") for use in spec.passes]
        finishes = [step.name for step in chain if step.kind is StepKind.FINISH]
        assert len(finishes) == (spec.precision != "fp32")
        verify = steps[variant.verify]
        assert verify.inputs["artifact"] == variant.artifact == variant.steps[-1]
        assert verify.options["max_drop"] == spec.max_drop
        assert verify.options["lossy"] == bool(spec.passes)


@given(RECIPES, st.booleans(), st.booleans(), st.booleans())
def test_data_reaches_the_steps_that_need_it_and_never_the_same_sample_both(
    data: dict[str, Any], calibration: bool, evaluation: bool, same: bool
) -> None:
    made = planned(data, "onnx", calibration, evaluation, same=same)
    shared = same and calibration and evaluation
    assert bool(made.notes) == shared
    for step in made.steps:
        takes = step.kind is StepKind.PASS and step.options["recover"] != "none"
        takes = takes or step.name == "int8-static"
        assert (step.inputs.get("calibration") == CALIBRATION) == takes
        judges = step.kind in (StepKind.REFERENCE, StepKind.VERIFY)
        assert (step.inputs.get("evaluation") == EVALUATION) == (judges and evaluation)
        if judges:
            assert step.options["split"] == ("held-out" if shared else "all")
        elif step.kind is StepKind.PASS or step.name == "int8-static":
            assert step.options["split"] == ("calibration" if shared else "all")
    if not calibration:
        for variant in made.refused:
            assert variant.error["reason"] == "DATA_NEEDED"
            assert variant.recipe_variant in variant.error["message"]
    else:
        assert made.refused == ()


@given(RECIPES, st.sampled_from(["onnx", "pt2"]))
def test_no_step_is_planned_twice(data: dict[str, Any], form: str) -> None:
    contents = [
        canonical_json([step.kind, step.name, step.options, step.inputs, step.seed])
        for step in planned(data, form, True, True).steps
    ]
    assert len(set(contents)) == len(contents)


@given(RECIPES, st.sampled_from(["onnx", "pt2"]))
def test_parents_are_variants_of_the_plan_and_lead_to_an_end(
    data: dict[str, Any], form: str
) -> None:
    by_name = {variant.name: variant for variant in planned(data, form, True, True).variants}
    for variant in by_name.values():
        seen = {variant.name}
        while variant.parent:
            parent = by_name[variant.parent]
            assert parent.target == variant.target
            assert parent.name not in seen
            seen.add(parent.name)
            variant = parent


def reached(made: Plan, steps: dict[str, Any]) -> set[str]:
    """Ids of all steps that a variant or the reference needs."""
    found: set[str] = set()
    waiting: list[str] = [made.reference, *(each.verify for each in made.variants)]
    for variant in made.variants:
        waiting += variant.steps
    while waiting:
        step = waiting.pop()
        if step in steps and step not in found:
            found.add(step)
            waiting += _inputs(steps[step].inputs.values())
    return found


def _inputs(values: Iterable[str]) -> list[str]:
    return [each for each in values if each not in (SOURCE, CALIBRATION, EVALUATION)]
