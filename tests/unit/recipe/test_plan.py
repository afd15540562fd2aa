"""From a recipe to steps."""

from __future__ import annotations

from typing import Any

from edgeconv.recipe.inspection import Inspection
from edgeconv.recipe.plan import CALIBRATION, EVALUATION, SOURCE, Plan, plan
from edgeconv.recipe.schema import parse_recipe
from edgeconv.recipe.signature import DeclaredTensor, DType
from edgeconv.recipe.specs import StepKind

RECIPE = """
variants:
  fp32: {}
  int8: {precision: int8}
  prune20-fp16: {passes: [{prune: {ratio: 0.2}}], precision: fp16}
  prune20-int8: {passes: [{prune: {ratio: 0.2}}], precision: int8}
"""


def inspection(form: str = "onnx") -> Inspection:
    tensor = DeclaredTensor(name="x", dtype=DType.FLOAT32, shape=("n", 3, 8, 8))
    return Inspection(
        format=form, inputs=(tensor,), outputs=(), parameters=0, weights_bytes=0, operators={}
    )


def planned(text: str = RECIPE, form: str = "onnx", **given: Any) -> Plan:
    facts = {"shapes": {}, "has_calibration": True, "has_evaluation": True, **given}
    return plan(parse_recipe(text), inspection(form), **facts)


def test_steps_come_after_what_they_read() -> None:
    seen = {SOURCE, CALIBRATION, EVALUATION}
    for step in planned().steps:
        assert set(step.inputs.values()) <= seen, step.id
        assert step.id not in seen
        seen.add(step.id)


def test_intake_and_lowerings_are_proven_against_the_reference() -> None:
    made = planned()
    for step in made.steps:
        proven = step.kind in (StepKind.INTAKE, StepKind.LOWERING)
        if proven or step.kind is StepKind.VERIFY:
            assert step.inputs["reference"] == made.reference


def test_shared_prefixes_appear_once() -> None:
    steps = planned().steps
    kinds = [(step.kind, step.name) for step in steps]
    assert kinds.count((StepKind.INTAKE, "intake")) == 1
    assert kinds.count((StepKind.PASS, "prune")) == 1
    assert kinds.count((StepKind.DIRECT, "direct")) == 1
    # One unpruned and one pruned program for TFLite, the pruned one for ONNX.
    assert kinds.count((StepKind.LOWERING, "tflite")) == 2
    assert kinds.count((StepKind.LOWERING, "onnx")) == 1


def test_an_onnx_source_without_passes_takes_the_direct_road_to_onnx() -> None:
    roads = {variant.name: variant.road for variant in planned().variants}
    assert roads["int8.onnx"] == "direct"
    assert roads["int8.tflite"] == "program"
    assert roads["prune20-int8.onnx"] == "program"
    assert {variant.road for variant in planned(form="pt2").variants} == {"program"}


def test_a_variant_is_compared_with_what_it_was_made_from() -> None:
    parents = {variant.name: variant.parent for variant in planned().variants}
    assert parents["fp32.onnx"] == ""
    assert parents["int8.onnx"] == "fp32.onnx"
    assert parents["prune20-int8.tflite"] == "int8.tflite"
    assert parents["prune20-fp16.tflite"] == "fp32.tflite"


def test_what_needs_data_is_refused_without_it_and_the_rest_is_made() -> None:
    without = planned(has_calibration=False)
    assert {variant.name for variant in without.variants} == {"fp32.onnx", "fp32.tflite"}
    assert len(without.refused) == 6
    error = without.refused[0].error
    assert error["reason"] == "DATA_NEEDED"
    assert "int8" in error["message"]
    assert "--data" in error["fix"]
    pruned = {each.name: each.error for each in without.refused}["prune20-fp16.onnx"]
    assert "recover: none" in pruned["fix"]


def test_one_dataset_for_both_is_split_and_the_plan_says_so() -> None:
    shared = planned(same_data=True)
    options = {step.id: step.options for step in shared.steps}
    assert options["reference"]["split"] == "held-out"
    assert options["int8.onnx/int8-static"]["split"] == "calibration"
    assert options["fp32.onnx/verify"]["split"] == "held-out"
    assert "about a quarter of the samples" in shared.notes[0]
    assert planned().notes == ()


def test_the_split_is_told_in_samples() -> None:
    (note,) = planned(same_data=True, samples=100).notes
    assert "about a quarter of its 100 samples, by class where there are labels" in note


def test_the_same_question_gets_the_same_plan() -> None:
    assert planned() == planned()


def test_a_variant_may_name_its_own_targets() -> None:
    text = "targets: [onnx, tflite]\nvariants: {a: {targets: [tflite]}}"
    assert [variant.name for variant in planned(text).variants] == ["a.tflite"]


def test_bounds_reach_the_verification() -> None:
    text = "variants: {a: {precision: fp16, max_drop: 2%, min_snr_db: 35}}"
    verify = next(step for step in planned(text).steps if step.kind is StepKind.VERIFY)
    assert verify.options["max_drop"] == 0.02
    assert verify.options["min_snr_db"] == 35
    assert verify.options["precision"] == "fp16"
