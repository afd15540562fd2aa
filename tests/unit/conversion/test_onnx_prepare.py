"""An ONNX graph that is made ready for quantization computes what it did before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.finishes.onnx_prepare import prepare
from edgeconv.conversion.finishes.onnx_proof import prove_prepared
from edgeconv.conversion.program import Artifact
from edgeconv.recipe.specs import StepKind, spec_of
from edgeconv.testing.conversions import context, finish
from edgeconv.testing.onnx_graphs import node
from edgeconv.testing.user_graphs import decibels, normal_samples, taken, weight

QUANTIZING = ("int8-static", "int8-dynamic", "int8-weights")


def resized(folder: Path, operator: str, mode: str, factor: float, opset: int) -> Artifact:
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node(operator, ["a", "s"], ["y"], mode=mode),
    ]
    constants = {"w": weight(8, 8, 3, 3), "s": np.array([1, 1, factor, factor], np.float32)}
    size = int(8 * factor)
    return taken(folder, nodes, (1, 8, 8, 8), (1, 8, size, size), constants, opset=opset)


# The version converter leaves the way to the default, which is another one from opset 11 on.
@pytest.mark.parametrize("factor", [2, 2.5, 3])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("operator", "opset"), [("Upsample", 9), ("Resize", 10)])
def test_a_resize_of_an_old_opset_goes_on_as_it_was(
    operator: str, opset: int, mode: str, factor: float, tmp_path: Path
) -> None:
    artifact = resized(tmp_path, operator, mode, factor, opset)
    assert decibels(tmp_path, artifact, "int8-weights") > 30


# It is left as it is, and goes over one axis instead of all behind the first.
@pytest.mark.parametrize("name", QUANTIZING)
def test_an_operator_whose_meaning_changed_is_refused_by_its_name(
    name: str, tmp_path: Path
) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Hardmax", ["a"], ["y"], name="harden")]
    artifact = taken(tmp_path, nodes, (4, 8, 32), (4, 8, 32), {"w": weight(32, 32)}, opset=11)
    with pytest.raises(EdgeconvError, match="'harden'") as caught:
        finish(artifact, name, tmp_path / "int8", samples=normal_samples((4, 8, 32)))
    assert caught.value.reason is Reason.NOT_APPLICABLE


@pytest.mark.parametrize("with_data", [True, False], ids=["calibration data", "synthetic"])
def test_a_graph_that_computes_something_else_after_it_is_refused(
    with_data: bool, tmp_path: Path
) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    artifact = taken(tmp_path, nodes, (4, 32), (4, 32), {"w": weight(32, 32)})
    given = context(tmp_path / "work", normal_samples((4, 32)) if with_data else None)
    model, _ = prepare(artifact.path, given.scratch)
    spec = spec_of(StepKind.FINISH, "int8-weights")
    assert prove_prepared(spec, artifact, model, given) == []
    values = numpy_helper.to_array(model.graph.initializer[0]).copy()
    values[:, 0] *= -1
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w"))
    again = context(tmp_path / "again", given.calibration)
    with pytest.raises(EdgeconvError, match=r"output 'y' has .* dB") as caught:
        prove_prepared(spec, artifact, model, again)
    assert caught.value.reason is Reason.AGREEMENT_LOST


def test_a_table_that_refuses_large_integers_is_proven_with_small_ones(tmp_path: Path) -> None:
    constants = {"table": weight(12, 32), "w": weight(32, 32)}
    nodes = [node("Gather", ["table", "x"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    artifact = taken(tmp_path, nodes, (4,), (4, 32), constants, dtype="int64")
    _, effect = finish(artifact, "int8-weights", tmp_path / "int8")
    assert not [note for note in effect.notes if note.kind == "fallback"]
