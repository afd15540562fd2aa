"""Activations and normalizations in parts: fused whatever their order, never by mistake."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import NodeProto
from torch import nn

from edgeconv.conversion.intake import take_in
from edgeconv.conversion.intake.onnx.model import read_model
from edgeconv.conversion.intake.onnx.program import Interpreted, interpret
from edgeconv.testing.onnx_graphs import node, write_graph

Constants = dict[str, NDArray[Any]]


def number(value: float, rank: int = 0) -> NDArray[np.float32]:
    return np.full((1,) * rank, value, np.float32)


class Parts:
    """A graph of few words: each call adds a node and gives its output's name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: Constants = {}

    def __call__(self, operator: str, *inputs: str | float | NDArray[Any], **more: Any) -> str:
        made = f"t{len(self.nodes)}"
        names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        self.nodes.append(node(operator, names, [made], **more))
        return made

    def _constant(self, value: float | NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = value if isinstance(value, np.ndarray) else number(value)
        return name

    def means(self, x: str, axes: Sequence[int]) -> str:
        return self("ReduceMean", x, np.array(axes), keepdims=1)


def check(
    folder: Path, parts: Parts, shape: Sequence[int], outputs: Sequence[str], dtype: str = "float32"
) -> list[str]:
    """The operators left by fusion, after checking it against the graph as it is."""
    path = write_graph(
        folder / "m.onnx", parts.nodes, {"x": (dtype, list(shape))},
        {name: (dtype, ["?"] * len(shape)) for name in outputs}, parts.constants,
    )  # fmt: skip
    model = read_model(path)
    plain, fused = interpret(model, {}, fused=False), interpret(model, {})
    torch.manual_seed(0)
    value = (torch.randn(*shape) * 3).to(getattr(torch, dtype))
    with torch.no_grad():
        wanted, got = plain.interpreter(value), fused.interpreter(value)
    for one, other in zip(wanted, got, strict=True):
        assert one.shape == other.shape
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)
    return _left(fused)


def _left(made: Interpreted) -> list[str]:
    return [step.node.operator for step in made.fusion.plan.steps]


def gelu(parts: Parts, x: str, draw: Callable[[int], int], **changed: float) -> str:
    """x/2 · (1 + erf(x/√2)) in one of the orders that exporters write."""
    root, one, half = (
        changed.get(name, value)
        for name, value in (("root", math.sqrt(2)), ("one", 1.0), ("half", 0.5))
    )
    inner = parts("Div", x, root) if draw(2) else parts("Mul", x, 1 / root)
    erf = parts("Erf", inner)
    sum_ = parts("Add", erf, one) if draw(2) else parts("Add", number(one), erf)
    return halved(parts, x, sum_, half, draw)


def halved(parts: Parts, x: str, sum_: str, half: float, draw: Callable[[int], int]) -> str:
    order = draw(4)
    if order == 0:
        return parts("Mul", x, parts("Mul", number(half), sum_))
    if order == 1:
        return parts("Mul", parts("Mul", x, sum_), half)
    if order == 2:
        return parts("Mul", parts("Mul", half, x), sum_)
    return parts("Div", parts("Mul", sum_, x), 1 / half)


def tanh_gelu(parts: Parts, x: str, draw: Callable[[int], int], **changed: float) -> str:
    scale = changed.get("scale", math.sqrt(2 / math.pi))
    factor = changed.get("factor", 0.044715)
    order = draw(3)
    if order == 2:
        squared = parts("Mul", x, x)
        inner = parts("Mul", parts("Mul", x, scale),
                      parts("Add", parts("Mul", squared, factor), 1.0))  # fmt: skip
    else:
        cubed = parts("Pow", x, 3.0) if order else parts("Mul", x, parts("Mul", x, x))
        inner = parts("Mul", parts("Add", x, parts("Mul", number(factor), cubed)), scale)
    sum_ = parts("Add", parts("Tanh", inner), 1.0)
    return halved(parts, x, sum_, changed.get("half", 0.5), draw)


def hard_swish(parts: Parts, x: str, draw: Callable[[int], int], **changed: float) -> str:
    shift, upper = changed.get("shift", 3.0), changed.get("upper", 6.0)
    divisor, alpha = changed.get("divisor", 6.0), changed.get("alpha", 1 / 6)
    order = draw(3)
    if order == 0:
        return parts("Mul", x, parts("HardSigmoid", x, alpha=alpha, beta=shift / 6))
    if order == 1:
        inner = parts("Add", parts("Mul", x, alpha), shift / 6)
        return parts("Mul", parts("Clip", inner, number(0.0), number(upper / 6)), x)
    clipped = parts("Clip", parts("Add", x, shift), number(0.0), number(upper))
    return parts("Div", parts("Mul", x, clipped), divisor)


ACTIVATIONS: Mapping[str, tuple[Callable[..., str], str]] = {
    "gelu": (gelu, "Gelu"),
    "tanh": (tanh_gelu, "Gelu"),
    "hard-swish": (hard_swish, "HardSwish"),
}
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@given(data=st.data(), shape=SHAPES, name=st.sampled_from(sorted(ACTIVATIONS)))
@settings(max_examples=60, deadline=None)
def test_activations_become_one_operator(
    data: st.DataObject, shape: list[int], name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    build, operator = ACTIVATIONS[name]
    parts = Parts()
    made = build(parts, "x", lambda count: data.draw(st.integers(0, count - 1)))
    assert check(tmp_path_factory.mktemp("m"), parts, shape, [made]) == [operator]


NEAR: list[tuple[str, int, dict[str, float]]] = [
    ("gelu", 0, {"root": 1.5}), ("gelu", 1, {"root": 1.4142}), ("gelu", 0, {"one": 1.01}),
    ("gelu", 1, {"half": 0.4}), ("tanh", 0, {"scale": 0.8}), ("tanh", 1, {"factor": 0.04}),
    ("tanh", 2, {"half": 0.25}), ("hard-swish", 0, {"alpha": 0.2}),
    ("hard-swish", 0, {"shift": 2.0}), ("hard-swish", 1, {"upper": 5.0}),
    ("hard-swish", 2, {"upper": 5.0}), ("hard-swish", 2, {"divisor": 5.0}),
    ("hard-swish", 2, {"shift": 2.0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "order", "changed"), NEAR)
def test_activations_with_another_constant_stay(
    tmp_path: Path, name: str, order: int, changed: dict[str, float]
) -> None:
    build, operator = ACTIVATIONS[name]
    parts = Parts()
    made = build(parts, "x", lambda count: order % count, **changed)
    assert operator not in check(tmp_path, parts, (2, 3), [made])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_part_that_is_read_elsewhere_or_given_out_keeps_all(tmp_path: Path, name: str) -> None:
    build, operator = ACTIVATIONS[name]
    for place in range(len(_built(build).nodes) - 1):
        parts = _built(build)
        made, part = f"t{len(parts.nodes) - 1}", f"t{place}"
        assert operator not in check(tmp_path, parts, (2, 3), [made, part])
        again = parts("Add", part, made)
        assert operator not in check(tmp_path, parts, (2, 3), [again])


def _built(build: Callable[..., str]) -> Parts:
    parts = Parts()
    build(parts, "x", lambda count: count - 1)
    return parts


def test_a_constant_that_adds_an_axis_keeps_the_parts(tmp_path: Path) -> None:
    parts = Parts()
    erf = parts("Erf", parts("Div", "x", math.sqrt(2)))
    made = parts("Mul", parts("Mul", "x", parts("Add", erf, 1.0)), number(0.5, rank=3))
    assert "Gelu" not in check(tmp_path, parts, (2, 3), [made])


def test_what_reads_another_tensor_stays(tmp_path: Path) -> None:
    parts = Parts()
    erf = parts("Erf", parts("Div", "x", math.sqrt(2)))
    other = parts("Sin", "x")
    made = parts("Mul", parts("Mul", other, parts("Add", erf, 1.0)), 0.5)
    assert "Gelu" not in check(tmp_path, parts, (2, 3), [made])


def test_one_after_another_are_all_found(tmp_path: Path) -> None:
    parts = Parts()
    name = "x"
    for order in range(4):
        name = gelu(parts, name, lambda count, order=order: order % count)  # type: ignore[misc]
    assert check(tmp_path, parts, (2, 3), [name]) == ["Gelu"] * 4


def layer_norm(
    parts: Parts, draw: Callable[[int], int], shape: Sequence[int], **changed: Any
) -> str:
    """(x - mean) / √(variance + ε), then scale and bias as drawn."""
    count = changed.get("count", 1)
    axes = changed.get("axes", range(-count, 0))
    other = changed.get("other", axes)
    centre = parts("Sub", "x", parts.means("x", axes))
    again = parts("Sub", "x", parts.means("x", axes)) if draw(2) else centre
    squared = (
        parts("Mul", again, again) if draw(2) else parts("Pow", again, changed.get("power", 2.0))
    )
    shifted = parts("Add", parts.means(squared, other), changed.get("epsilon", 1e-5))
    made = parts("Div", centre, parts("Sqrt", shifted))
    rng = np.random.default_rng(0)
    inner = changed.get("inner", tuple(shape[len(shape) - count :]))
    wide = (1,) * draw(2) + inner if len(shape) > count else inner
    if draw(4):
        made = parts("Mul", made, rng.standard_normal(wide).astype(np.float32))
    if draw(3):
        made = parts("Add", rng.standard_normal(inner).astype(np.float32), made)
    return made


@given(data=st.data(), epsilon=st.sampled_from([1e-12, 1e-6, 1e-5, 1e-3, 0.5]))
@settings(max_examples=60, deadline=None)
def test_layer_norms_become_one_operator(
    data: st.DataObject, epsilon: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shape = data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=4))
    count = data.draw(st.integers(1, len(shape)))
    parts = Parts()
    layer_norm(parts, lambda size: data.draw(st.integers(0, size - 1)), shape,
               count=count, epsilon=epsilon)  # fmt: skip
    last = f"t{len(parts.nodes) - 1}"
    left = check(tmp_path_factory.mktemp("m"), parts, shape, [last])
    # A bias without a scale before it is a sum of its own.
    assert left in (["LayerNormalization"], ["LayerNormalization", "Add"])


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"axes": [1]}, id="an axis in the middle"),
        pytest.param({"axes": [0, 2]}, id="axes with one between"),
        pytest.param({"other": [1, 2]}, id="a variance over other axes"),
        pytest.param({"power": 4.0}, id="another power"),
    ],
)
def test_what_only_looks_like_a_layer_norm_stays(tmp_path: Path, changed: dict[str, Any]) -> None:
    parts = Parts()
    made = layer_norm(parts, lambda count: 0, (2, 4, 4), **changed)
    assert "LayerNormalization" not in check(tmp_path, parts, (2, 4, 4), [made])


def test_a_scale_over_other_axes_stays_behind(tmp_path: Path) -> None:
    parts = Parts()
    made = layer_norm(parts, lambda count: count - 1, (2, 4, 4), inner=(4, 1))
    assert check(tmp_path, parts, (2, 4, 4), [made]) == ["LayerNormalization", "Mul", "Add"]


@pytest.mark.parametrize("draw", [0, 1])
def test_a_part_of_a_norm_that_is_given_out_keeps_the_rest(tmp_path: Path, draw: int) -> None:
    parts = Parts()
    made = layer_norm(parts, lambda count: min(draw, count - 1), (2, 4))
    kinds = [each.op_type for each in parts.nodes]
    for place in range(len(kinds) - 1):
        left = check(tmp_path, parts, (2, 4), [made, f"t{place}"])
        # The quotient is a normalization by itself, with scale and bias behind it.
        assert ("LayerNormalization" in left) == (place >= kinds.index("Div"))


class _Block(nn.Module):
    """A piece of a transformer, as torch's exporter writes it before normalization is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(-1, keepdim=True)
        normal = (x - mean) / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + 1e-6)
        scaled = normal * self.norm.weight + self.norm.bias
        made: torch.Tensor = nn.functional.gelu(self.layer(scaled))
        return made


def test_a_block_of_torchs_own_export_becomes_three_operators(tmp_path: Path) -> None:
    torch.manual_seed(0)
    block, value = _Block().eval(), torch.randn(1, 4, 8)
    path = tmp_path / "block.onnx"
    torch.onnx.export(block, (value,), path, dynamo=True, opset_version=18, verbose=False,
                      external_data=False)  # fmt: skip
    program, effect = take_in(tmp_path, "sha256:source", {}, lambda fraction, words: None)
    operators = [
        str(each.target) for each in program.exported.graph.nodes if each.op == "call_function"
    ]
    assert operators == ["aten.layer_norm.default", "aten.linear.default", "aten.gelu.default"]
    got = program.exported.module(check_guards=False)(value)[0]
    assert torch.allclose(got, block(value), atol=1e-5)
    assert {note.subject for note in effect.notes} >= {"Gelu", "LayerNormalization"}
