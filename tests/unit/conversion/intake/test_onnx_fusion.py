"""Fusion: what is folded, what must not be, and that it computes the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from edgeconv.conversion.intake.onnx.model import read_model
from edgeconv.conversion.intake.onnx.program import Interpreted, interpret
from edgeconv.testing.onnx_graphs import Declared, node, write_graph

RNG = np.random.default_rng(5)
IMAGE: Declared = {"x": ("float32", [1, 3, 8, 8])}
WEIGHTS = {
    "w": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "b": RNG.standard_normal(4).astype(np.float32),
    "scale": RNG.uniform(0.5, 2, 4).astype(np.float32),
    "bias": RNG.standard_normal(4).astype(np.float32),
    "mean": RNG.standard_normal(4).astype(np.float32),
    "var": RNG.uniform(0.5, 2, 4).astype(np.float32),
    "channel": RNG.standard_normal((1, 4, 1, 1)).astype(np.float32),
    "channel3": RNG.standard_normal((4, 1, 1)).astype(np.float32),
    "row": RNG.standard_normal((1, 1, 1, 6)).astype(np.float32),
    "number": np.array([2.5], np.float32),
}
CONV = node("Conv", ["x", "w", "b"], ["c"])
NORM = node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["y"], epsilon=1e-3)


def _both(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, NDArray[Any]],
    inputs: Declared = IMAGE,
    outputs: Sequence[str] = ("y",),
) -> Interpreted:
    """The fused interpreter, after checking it against the one without fusion."""
    used = {name for each in nodes for name in each.input}
    declared = {name: ("float32", ["?"] * 4) for name in outputs}
    kept = {name: array for name, array in constants.items() if name in used}
    path = write_graph(folder / "m.onnx", nodes, inputs, declared, kept)
    model = read_model(path)
    plain, fused = interpret(model, {}, fused=False), interpret(model, {})
    torch.manual_seed(0)
    feeds = [torch.randn(spec.shape) for spec in fused.inputs]
    with torch.no_grad():
        for want, got in zip(plain.interpreter(*feeds), fused.interpreter(*feeds), strict=True):
            assert want.shape == got.shape
            assert torch.allclose(want, got, rtol=1e-4, atol=1e-5)
    return fused


def _left(made: Interpreted) -> list[str]:
    return [step.node.operator for step in made.fusion.plan.steps]


def test_batch_normalization_goes_into_the_convolution(tmp_path: Path) -> None:
    made = _both(tmp_path, [CONV, NORM], WEIGHTS)
    assert _left(made) == ["Conv"]
    assert made.fusion.counts == {"BatchNormalization into Conv": 1}


def test_a_convolution_without_bias_gets_one(tmp_path: Path) -> None:
    made = _both(tmp_path, [node("Conv", ["x", "w"], ["c"]), NORM], WEIGHTS)
    assert _left(made) == ["Conv"]


@pytest.mark.parametrize("constant", ["channel", "channel3", "number"])
@pytest.mark.parametrize("operator", ["Mul", "Add", "Sub", "Div"])
def test_constants_over_channels_go_into_the_convolution(
    tmp_path: Path, operator: str, constant: str
) -> None:
    made = _both(tmp_path, [CONV, node(operator, ["c", constant], ["y"])], WEIGHTS)
    assert _left(made) == ["Conv"]


@pytest.mark.parametrize(("operator", "left"), [("Mul", 1), ("Add", 1), ("Sub", 1), ("Div", 2)])
def test_a_constant_on_the_left_folds_unless_it_is_divided(
    tmp_path: Path, operator: str, left: int
) -> None:
    made = _both(tmp_path, [CONV, node(operator, ["channel", "c"], ["y"])], WEIGHTS)
    assert len(_left(made)) == left


def test_a_chain_folds_to_one_convolution(tmp_path: Path) -> None:
    nodes = [
        CONV,
        node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"]),
        node("Mul", ["n", "channel"], ["m"]),
        node("Add", ["m", "number"], ["y"]),
    ]
    assert _left(_both(tmp_path, nodes, WEIGHTS)) == ["Conv"]


def test_a_constant_over_another_axis_stays(tmp_path: Path) -> None:
    made = _both(tmp_path, [CONV, node("Mul", ["c", "row"], ["y"])], WEIGHTS)
    assert _left(made) == ["Conv", "Mul"]


def test_a_tensor_that_is_read_twice_stays(tmp_path: Path) -> None:
    nodes = [CONV, node("Mul", ["c", "number"], ["m"]), node("Add", ["m", "c"], ["y"])]
    assert _left(_both(tmp_path, nodes, WEIGHTS)) == ["Conv", "Mul", "Add"]


def test_a_tensor_that_is_an_output_stays(tmp_path: Path) -> None:
    made = _both(tmp_path, [CONV, NORM], WEIGHTS, outputs=("c", "y"))
    assert _left(made) == ["Conv", "BatchNormalization"]


def test_weights_that_are_computed_stay(tmp_path: Path) -> None:
    inputs = {**IMAGE, "w": ("float32", [4, 3, 3, 3])}
    kept = {name: array for name, array in WEIGHTS.items() if name != "w"}
    made = _both(tmp_path, [CONV, NORM], kept, inputs=inputs)
    assert _left(made) == ["Conv", "BatchNormalization"]


def test_a_shared_kernel_is_folded_for_each_reader_alone(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Mul", ["c", "number"], ["m"]),
        node("Conv", ["x", "w"], ["d"]),
        node("Add", ["m", "d"], ["y"]),
    ]
    assert _left(_both(tmp_path, nodes, WEIGHTS)) == ["Conv", "Conv", "Add"]


HIDDEN: Declared = {"x": ("float32", [2, 5, 3])}
LINEAR = {
    "w": RNG.standard_normal((3, 4)).astype(np.float32),
    "b": RNG.standard_normal(4).astype(np.float32),
    "tall": RNG.standard_normal((5, 1)).astype(np.float32),
}


@pytest.mark.parametrize("order", [["t", "b"], ["b", "t"]])
def test_a_product_and_its_bias_become_a_linear_layer(tmp_path: Path, order: list[str]) -> None:
    nodes = [node("MatMul", ["x", "w"], ["t"]), node("Add", order, ["y"])]
    made = _both(tmp_path, nodes, LINEAR, inputs=HIDDEN)
    assert _left(made) == ["LinearBias"]


def test_a_constant_over_rows_is_no_bias(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["t"]), node("Add", ["t", "tall"], ["y"])]
    made = _both(tmp_path, nodes, LINEAR, inputs=HIDDEN)
    assert _left(made) == ["MatMul", "Add"]


def _swish(upper: float = 6.0, shift: float = 3.0, divisor: float = 6.0) -> list[onnx.NodeProto]:
    return [
        node("Constant", [], ["three"], value=np.array([shift], np.float32)),
        node("Constant", [], ["low"], value=np.array(0, np.float32)),
        node("Constant", [], ["high"], value=np.array(upper, np.float32)),
        node("Constant", [], ["six"], value=np.array([divisor], np.float32)),
        node("Add", ["x", "three"], ["s"]),
        node("Clip", ["s", "low", "high"], ["k"]),
        node("Mul", ["x", "k"], ["p"]),
        node("Div", ["p", "six"], ["y"]),
    ]


def test_a_hard_swish_in_parts_becomes_one_operator(tmp_path: Path) -> None:
    assert _left(_both(tmp_path, _swish(), {})) == ["HardSwish"]


@pytest.mark.parametrize("changed", [{"upper": 5.0}, {"shift": 2.0}, {"divisor": 5.0}])
def test_what_only_looks_like_a_hard_swish_stays(tmp_path: Path, changed: dict[str, float]) -> None:
    assert _left(_both(tmp_path, _swish(**changed), {})) == ["Add", "Clip", "Mul", "Div"]
