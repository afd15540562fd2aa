"""What every pass promises, whatever it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeconv.base.bundle import scan_bundle
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.program import Applicability, Context, Program
from edgeconv.conversion.registry import implementation
from edgeconv.conversion.samples import Samples, synthesize
from edgeconv.recipe.specs import Need, Options, StepKind, spec_of, specs_of
from edgeconv.results.effect import Effect
from edgeconv.testing.programs import program

# Options under which a pass changes the network below, and some under which it can't.
CHANGING: dict[str, dict[str, Any]] = {"prune": {"ratio": 0.5, "recover": "least-squares"}}
IDLE: dict[str, dict[str, Any]] = {"prune": {"ratio": 0.01, "recover": "none"}}
PASSES = [spec.name for spec in specs_of(StepKind.PASS)]
NETWORK = "mobilenet"


@pytest.fixture(params=PASSES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source() -> Program:
    return program(NETWORK)


def options_of(name: str, given: dict[str, Any]) -> Options:
    return spec_of(StepKind.PASS, name).options.model_validate(given)


def samples_for(source: Program, count: int = 8) -> Samples:
    return synthesize(source.signature.inputs, count=count, seed=3)


def context(folder: Path, calibration: Samples | None, seed: int = 1) -> Context:
    return Context(folder, folder, seed, calibration, lambda fraction, words: None)


def apply(name: str, source: Program, folder: Path, seed: int = 1) -> tuple[Program, Effect]:
    made: tuple[Program, Effect] = implementation(StepKind.PASS, name).apply(
        source, options_of(name, CHANGING[name]), context(folder, samples_for(source), seed)
    )
    return made


def outputs(made: Program) -> list[np.ndarray]:
    module = made.exported.module(check_guards=False)
    results = []
    with torch.no_grad():
        for sample in samples_for(made, 3):
            inputs = [torch.from_numpy(sample[spec.name]) for spec in made.signature.inputs]
            results.extend(tensor.numpy() for tensor in module(*inputs))
    return results


def weights(made: Program) -> dict[str, np.ndarray]:
    tensors = {**made.exported.state_dict, **made.exported.constants}
    return {key: tensor.detach().numpy().copy() for key, tensor in tensors.items()}


def test_every_pass_has_options_here() -> None:
    assert set(PASSES) == set(CHANGING) == set(IDLE)


def test_it_names_the_spec_it_implements(name: str) -> None:
    assert implementation(StepKind.PASS, name).spec is spec_of(StepKind.PASS, name)


def test_the_signature_is_kept_and_the_outputs_have_its_shapes(
    name: str, source: Program, tmp_path: Path
) -> None:
    made, _ = apply(name, source, tmp_path)
    assert source.signature.differences(made.signature) == []
    shapes = [tuple(array.shape) for array in outputs(made)[: len(made.signature.outputs)]]
    assert shapes == [spec.shape for spec in made.signature.outputs]


def test_tensors_are_contiguous_and_share_no_memory(
    name: str, source: Program, tmp_path: Path
) -> None:
    made, _ = apply(name, source, tmp_path)
    before = {t.data_ptr() for t in source.exported.state_dict.values()}
    tensors = list(made.exported.state_dict.values())
    assert all(tensor.is_contiguous() for tensor in tensors)
    pointers = [tensor.data_ptr() for tensor in tensors if tensor.numel()]
    assert len(set(pointers)) == len(pointers)
    assert not before & set(pointers)


def test_the_given_program_stays_as_it_was(name: str, source: Program, tmp_path: Path) -> None:
    weights_before, outputs_before = weights(source), outputs(source)
    code_before = source.exported.graph_module.code
    apply(name, source, tmp_path)
    assert source.exported.graph_module.code == code_before
    assert source.lineage.steps == ()
    for key, array in weights(source).items():
        np.testing.assert_array_equal(array, weights_before[key])
    for got, want in zip(outputs(source), outputs_before, strict=True):
        np.testing.assert_array_equal(got, want)


def test_the_same_seed_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    digests = []
    for place in ("one", "two"):
        made, _ = apply(name, program(NETWORK), tmp_path)
        folder = tmp_path / place
        folder.mkdir()
        made.save(folder)
        digests.append(scan_bundle(folder).digest)
    assert digests[0] == digests[1]


def test_saved_and_loaded_it_computes_exactly_the_same(
    name: str, source: Program, tmp_path: Path
) -> None:
    made, _ = apply(name, source, tmp_path)
    want = outputs(made)
    made.save(tmp_path)
    loaded = Program.load(tmp_path)
    assert loaded.lineage == made.lineage
    for got, expected in zip(outputs(loaded), want, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_effect_says_what_changed_and_stands_in_the_lineage(
    name: str, source: Program, tmp_path: Path
) -> None:
    made, effect = apply(name, source, tmp_path)
    assert effect.step == name
    assert effect.changed >= 1
    assert effect.summary.endswith(".")
    step = made.lineage.steps[-1]
    assert (step.kind, step.name, step.effect) == ("pass", name, effect)
    assert step.options == options_of(name, CHANGING[name]).model_dump(mode="json")
    changed = weights(source).keys() ^ weights(made).keys() or any(
        not np.array_equal(array, weights(source)[key]) for key, array in weights(made).items()
    )
    assert changed


def test_an_empty_effect_is_an_error(name: str, source: Program, tmp_path: Path) -> None:
    step = implementation(StepKind.PASS, name)
    options = options_of(name, IDLE[name])
    with pytest.raises(EdgeconvError) as caught:
        step.apply(source, options, context(tmp_path, samples_for(source)))
    assert caught.value.reason is Reason.NOTHING_TO_DO
    verdict: Applicability = step.applicability(source, options)
    assert not verdict.applicable
    assert verdict.notes


def test_it_is_applicable_where_it_changes_something(name: str, source: Program) -> None:
    step = implementation(StepKind.PASS, name)
    assert step.applicability(source, options_of(name, CHANGING[name])).applicable


def test_data_that_is_needed_is_asked_for(name: str, source: Program, tmp_path: Path) -> None:
    options = options_of(name, CHANGING[name])
    if Need.CALIBRATION not in spec_of(StepKind.PASS, name).needs(options):
        return
    with pytest.raises(EdgeconvError) as caught:
        implementation(StepKind.PASS, name).apply(source, options, context(tmp_path, None))
    assert caught.value.reason is Reason.DATA_NEEDED
    assert caught.value.fix


def test_progress_goes_from_zero_up(name: str, source: Program, tmp_path: Path) -> None:
    seen: list[float] = []
    calibration = samples_for(source)
    told = Context(
        tmp_path, tmp_path, 1, calibration, lambda fraction, words: seen.append(fraction)
    )
    implementation(StepKind.PASS, name).apply(source, options_of(name, CHANGING[name]), told)
    known = [fraction for fraction in seen if fraction >= 0]
    assert known == sorted(known)
    assert known
    assert known[-1] <= 1
