"""A road is held in full precision before anything lossy is built on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.calls import StepCall, StepInput, StepOutcome
from edgeconv.conversion.road_proof import artifact_outputs, program_outputs, proven
from edgeconv.conversion.samples import write_arrays
from edgeconv.conversion.steps import StepRunner
from edgeconv.recipe.specs import StepKind
from edgeconv.results.effect import Effect
from edgeconv.testing.conversions import lowered, net
from edgeconv.testing.tiny_files import write_dense_onnx

EFFECT = Effect(step="tflite", summary="", changed=1)


def run(folder: Path, kind: StepKind, name: str, **inputs: StepInput) -> StepOutcome:
    made, scratch = folder / f"{name}-made", folder / f"{name}-scratch"
    made.mkdir()
    scratch.mkdir()
    options = {} if kind is StepKind.LOWERING else {"shapes": {"in/put:0": [1, 64]}}
    call = StepCall(kind, name, options, inputs, made, scratch, seed=0)
    return StepRunner().run(call, lambda share, words: None)


def source(folder: Path, **options: int) -> StepInput:
    folder.mkdir()
    write_dense_onnx(folder / "model.onnx", **options)
    return StepInput(folder, "sha256:0")


@pytest.fixture
def reference(tmp_path: Path) -> StepInput:
    given = source(tmp_path / "source")
    run(tmp_path, StepKind.REFERENCE, "reference", source=given)
    return StepInput(tmp_path / "reference-made")


def test_the_intake_and_a_lowering_say_how_far_they_agree(
    tmp_path: Path, reference: StepInput
) -> None:
    given = StepInput(tmp_path / "source", "sha256:0")
    made = run(tmp_path, StepKind.INTAKE, "intake", source=given, reference=reference)
    assert made.effect is not None
    assert made.effect.figures["agreement_db"] > 60
    program = StepInput(tmp_path / "intake-made")
    file = run(tmp_path, StepKind.LOWERING, "onnx", program=program, reference=reference)
    assert file.effect is not None
    assert file.effect.figures["agreement_db"] > 60


def test_an_intake_that_computes_something_else_fails(tmp_path: Path, reference: StepInput) -> None:
    outputs = reference.folder / "outputs.npz"
    with np.load(outputs) as archive:
        scores = archive["scores"]
    np.savez(outputs, scores=scores * np.float32(0.9))
    given = StepInput(tmp_path / "source", "sha256:0")
    with pytest.raises(EdgeconvError) as caught:
        run(tmp_path, StepKind.INTAKE, "intake", source=given, reference=reference)
    assert caught.value.reason is Reason.AGREEMENT_LOST
    assert caught.value.metadata["output"] == "scores"
    assert "dB, and ≥ 60 dB" in caught.value.message


def test_a_file_that_computes_something_else_than_its_program_is_refused(tmp_path: Path) -> None:
    program = net("cnn")
    artifact, _ = lowered("cnn", "onnx")
    [spec] = program.signature.inputs
    values = np.random.default_rng(0).standard_normal((6, *spec.shape)).astype(np.float32)
    write_arrays(tmp_path / "device_samples.npz", {spec.name: values})
    given = StepInput(tmp_path)
    expected, got = program_outputs(program, given), artifact_outputs(artifact, given)
    assert {len(array) for array in [*expected.values(), *got.values()]} == {4}
    assert proven("onnx", EFFECT, expected, got).figures["agreement_db"] > 60
    with pytest.raises(EdgeconvError, match="Step 'onnx' does not compute") as caught:
        proven("onnx", EFFECT, expected, {name: -array for name, array in got.items()})
    assert caught.value.reason is Reason.AGREEMENT_LOST
    with pytest.raises(EdgeconvError, match="missing"):
        proven("onnx", EFFECT, expected, {})
