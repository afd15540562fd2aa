"""A lowering that computes something else fails all that is built on it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgeconv.conversion.convert import convert
from edgeconv.conversion.registry import IMPLEMENTATIONS
from edgeconv.conversion.samples import write_arrays
from edgeconv.recipe.schema import parse_recipe
from edgeconv.recipe.specs import StepKind
from edgeconv.testing.conversions import SmallCnn
from edgeconv.testing.programs import seeded

# An error of 5 % on one weight lies within what 8 bits are allowed to lose.
BROKEN = """
import numpy as np
import onnx
from onnx import numpy_helper

from edgeconv.conversion.lowerings.onnx import OnnxLowering


class Broken(OnnxLowering):
    def apply(self, program, options, context):
        artifact, effect = super().apply(program, options, context)
        model = onnx.load(artifact.path)
        weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        changed = numpy_helper.to_array(weight) * np.float32(0.95)
        weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
        onnx.save(model, artifact.path)
        return artifact, effect
"""
RECIPE = "{version: 1, variants: {fp32: {}, fp16: {precision: fp16}, int8: {precision: int8}}}"


def test_all_variants_of_a_broken_road_fail_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_onnx_lowering.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(IMPLEMENTATIONS, (StepKind.LOWERING, "onnx"), "broken_onnx_lowering:Broken")
    exported = torch.export.export(seeded(SmallCnn), (torch.zeros(1, 1, 8, 8),))
    torch.export.save(exported, tmp_path / "net.pt2")
    values = np.random.default_rng(0).standard_normal((32, 1, 1, 8, 8)).astype(np.float32)
    write_arrays(tmp_path / "data.npz", {"x": values})
    data, out = tmp_path / "data.npz", tmp_path / "out"
    made = convert(
        tmp_path / "net.pt2", parse_recipe(RECIPE), out, calibration=data, evaluation=data
    )
    states = {result.name: result.state for result in made}
    names = ("fp32", "fp16", "int8")
    assert states == {
        **{f"{name}.onnx": "failed" for name in names},
        **{f"{name}.tflite": "verified" for name in names},
    }
    for result in made:
        if result.target == "onnx":
            assert result.error is not None
            assert result.error.reason == "AGREEMENT_LOST"
            assert result.error.message.startswith("Step 'onnx' does not compute what it was given")
            assert "≥ 60 dB" in result.error.message
            assert not (out / result.name).exists()
