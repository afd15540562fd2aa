"""Which operators of an ONNX graph stay in float, by the conversions that are left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto
from onnx.reference import ReferenceEvaluator

from edgeconv.analysis.agreement import centred_snr_db
from edgeconv.conversion.direct import take_directly
from edgeconv.conversion.finishes.onnx_hard_swish import join_hard_swishes
from edgeconv.conversion.onnx_file import operator_counts, read_onnx
from edgeconv.conversion.program import Artifact
from edgeconv.conversion.samples import Samples
from edgeconv.testing.conversions import finish, runtime_outputs
from edgeconv.testing.onnx_graphs import node, write_graph

CONSTANTS = {
    name: np.array(value, np.float32)
    for name, value in {"3": 3, "0": 0, "6": 6, "sixth": 1 / 6, "2": 2}.items()
}
CONSTANTS["wide"] = np.full((1,) * 5, 3, np.float32)
IMAGE = {"x": ("float32", (1, 8, 12, 12))}


def written_out(x: str, y: str, *, by: str = "6", three: str = "3") -> list[NodeProto]:
    return [
        node("Add", [three, x], [f"{y}/a"]),
        node("Clip", [f"{y}/a", "0", "6"], [f"{y}/c"]),
        node("Mul", [x, f"{y}/c"], [f"{y}/m"]),
        node("Div" if by == "6" else "Mul", [f"{y}/m", by], [y]),
    ]


def graph(folder: Path, nodes: list[NodeProto], outputs: list[str]) -> ModelProto:
    shown = dict.fromkeys(outputs, ("float32", (1, 8, 12, 12)))
    return onnx.load(write_graph(folder / "g.onnx", nodes, IMAGE, shown, CONSTANTS))


@pytest.mark.parametrize("by", ["6", "sixth"])
def test_a_hard_swish_written_out_is_joined_and_computes_the_same(by: str, tmp_path: Path) -> None:
    model = graph(tmp_path, [*written_out("x", "y", by=by), node("Relu", ["y"], ["z"])], ["z"])
    x = {"x": np.linspace(-8, 8, 8 * 144, dtype=np.float32).reshape(1, 8, 12, 12)}
    before = ReferenceEvaluator(model).run(None, x)[0]
    assert join_hard_swishes(model.graph) == 1
    onnx.checker.check_model(model, full_check=True)
    assert operator_counts(model) == {"HardSigmoid": 1, "Mul": 1, "Relu": 1}
    after = ReferenceEvaluator(model).run(None, x)[0]
    assert np.abs(before - after).max() < 1e-5


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        (written_out("x", "y", three="2"), ["y"]),
        (written_out("x", "y", by="2"), ["y"]),
        (written_out("x", "y", three="wide"), ["y"]),
        (written_out("x", "y"), ["y", "y/c"]),
        ([*written_out("x", "y"), node("Relu", ["y/m"], ["z"])], ["y", "z"]),
    ],
    ids=[
        "another constant",
        "another factor",
        "a constant of more axes",
        "an output in between",
        "read in between",
    ],
)
def test_what_is_no_hard_swish_stays(
    nodes: list[NodeProto], outputs: list[str], tmp_path: Path
) -> None:
    model = graph(tmp_path, nodes, outputs)
    before = model.SerializeToString()
    join_hard_swishes(model.graph)
    assert operator_counts(model) == operator_counts(onnx.load_from_string(before))


def mobile(folder: Path, activation: str) -> Artifact:
    """Three blocks of a depthwise convolution between two plain ones."""
    rng = np.random.default_rng(0)
    constants = dict(CONSTANTS)
    nodes: list[NodeProto] = []
    last = "x"

    def convolve(to: str, shape: tuple[int, ...], **attributes: Any) -> None:
        weight = f"w/{to}"
        constants[weight] = rng.normal(0, 1.4 / np.sqrt(shape[1] * shape[2] ** 2), shape).astype(
            np.float32
        )
        nodes.append(node("Conv", [last, weight], [f"{to}/conv"], **attributes))
        if activation == "Relu":
            nodes.append(node("Relu", [f"{to}/conv"], [to]))
        else:
            nodes.extend(written_out(f"{to}/conv", to))

    for block in range(3):
        convolve(f"wide{block}", (32, 8, 1, 1))
        last = f"wide{block}"
        convolve(f"depthwise{block}", (32, 1, 3, 3), group=32, pads=[1, 1, 1, 1])
        last = f"depthwise{block}"
        convolve(f"narrow{block}", (8, 32, 1, 1))
        last = f"narrow{block}"
    source, taken = folder / "source", folder / "taken"
    source.mkdir()
    taken.mkdir()
    write_graph(
        source / "m.onnx", nodes, IMAGE, {last: ("float32", (1, 8, 12, 12))}, constants, opset=13
    )
    return take_directly(source, "sha256:" + "0" * 64, {}, taken)[0]


def samples(seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((24, 1, 8, 12, 12)).astype(np.float32)
    return Samples({"x": x}, None, "dataset")


def test_depthwise_convolutions_between_float_activations_stay_float(tmp_path: Path) -> None:
    given = mobile(tmp_path, "hard swish")
    made, effect = finish(given, "int8-static", tmp_path / "int8", samples=samples(1))
    model = read_onnx(made.path)
    floats = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    left = [n for n in model.graph.node if n.op_type == "Conv" and n.input[1] in floats]
    assert len(left) == 3
    assert any("depthwise ones, 3, are in float" in note.message for note in effect.notes)
    assert any(note.subject == "HardSwish" for note in effect.notes)
    assert effect.figures["heavy_integer_operators"] == 6
    expected = runtime_outputs(given, samples(2))["narrow2"]
    snr = centred_snr_db(expected, runtime_outputs(made, samples(2))["narrow2"])
    assert snr is not None
    assert snr > 15


def test_depthwise_convolutions_in_an_integer_graph_stay_integer(tmp_path: Path) -> None:
    given = mobile(tmp_path, "Relu")
    _, effect = finish(given, "int8-static", tmp_path / "int8", samples=samples(1))
    assert effect.figures["heavy_integer_operators"] == 9
    assert not [note for note in effect.notes if "depthwise" in note.message]
