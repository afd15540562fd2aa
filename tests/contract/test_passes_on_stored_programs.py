"""A pass takes the program as a job hands it over: stored by one step, loaded by the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeconv.conversion.program import Context, Program
from edgeconv.conversion.registry import implementation
from edgeconv.conversion.samples import synthesize
from edgeconv.recipe.specs import StepKind, spec_of
from edgeconv.testing.programs import program


@pytest.mark.parametrize("recover", ["batchnorm", "least-squares"])
def test_pruning_takes_a_program_that_was_stored(tmp_path: Path, recover: str) -> None:
    fresh = program("mobilenet")
    fresh.save(tmp_path)
    stored = Program.load(tmp_path)
    samples = synthesize(stored.signature.inputs, count=8, seed=3)
    context = Context(tmp_path, tmp_path, 1, samples, lambda fraction, words: None)
    options = spec_of(StepKind.PASS, "prune").options.model_validate(
        {"ratio": 0.5, "recover": recover}
    )
    pruned, effect = implementation(StepKind.PASS, "prune").apply(stored, options, context)
    assert effect.figures["channels_removed"] > 0
    folder = tmp_path / "pruned"
    folder.mkdir()
    pruned.save(folder)
    assert Program.load(folder).signature == fresh.signature
