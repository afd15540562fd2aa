"""Planning: what becomes constant, what runs, and what is refused rather than guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.memory import read_peak, reset_peak
from edgeconv.conversion.intake.onnx.model import read_model
from edgeconv.conversion.intake.onnx.plan import make_plan
from edgeconv.conversion.intake.onnx.program import Interpreted, interpret, static_inputs
from edgeconv.testing.onnx_graphs import Declared, node, write_graph

X = {"x": ("float32", ["n", 4])}
Y = {"y": ("float32", ["n", 4])}


def _operators(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    model = read_model(folder / "m.onnx")
    plan = make_plan(model, static_inputs(model.inputs, shapes))
    return [step.node.operator for step in plan.steps]


def _write(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, NDArray[Any]] | None = None,
    *,
    inputs: Declared = X,
    outputs: Declared = Y,
    opset: int = 18,
) -> None:
    write_graph(folder / "m.onnx", nodes, inputs, outputs, constants, opset=opset)


def _interpret(folder: Path, **shapes: tuple[int, ...]) -> Interpreted:
    return interpret(read_model(folder / "m.onnx"), shapes)


def test_shape_arithmetic_becomes_constants(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["rows"]),
        node("Mul", ["rows", "four"], ["size"]),
        node("Unsqueeze", ["size", "axis"], ["flat"]),
        node("Reshape", ["x", "flat"], ["y"]),
    ]
    constants = {
        "zero": np.array(0), "four": np.array(4), "axis": np.array([0]),
    }  # fmt: skip
    _write(tmp_path, nodes, constants, outputs={"y": ("float32", ["m"])})
    assert _operators(tmp_path, {"x": (3, 4)}) == ["Reshape"]
    made = _interpret(tmp_path, x=(3, 4))
    assert made.interpreter(torch.zeros(3, 4))[0].shape == (12,)


def test_nodes_that_no_output_needs_are_left_out(tmp_path: Path) -> None:
    _write(tmp_path, [node("Exp", ["x"], ["unused"]), node("Relu", ["x"], ["y"])])
    assert _operators(tmp_path, {"x": (1, 4)}) == ["Relu"]


def _branch(name: str, operator: str) -> onnx.GraphProto:
    out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, None)
    return helper.make_graph([node(operator, ["x"], [f"{name}_out"])], name, [], [out])


@pytest.mark.parametrize(("condition", "kept"), [(True, "Relu"), (False, "Neg")])
def test_a_branch_chosen_by_a_constant_is_inlined(
    tmp_path: Path, condition: bool, kept: str
) -> None:
    chosen = node(
        "If", ["c"], ["t"],
        then_branch=_branch("then", "Relu"), else_branch=_branch("else", "Neg"),
    )  # fmt: skip
    nodes = [chosen, node("Exp", ["t"], ["y"])]
    _write(tmp_path, nodes, {"c": np.array(condition)})
    assert _operators(tmp_path, {"x": (1, 4)}) == [kept, "Exp"]
    value = torch.tensor([[-1.0, 2.0, -3.0, 4.0]])
    inner = torch.relu(value) if condition else -value
    made = _interpret(tmp_path, x=(1, 4)).interpreter(value)[0]
    assert torch.equal(made, torch.exp(inner))


def test_a_branch_chosen_at_run_time_is_refused(tmp_path: Path) -> None:
    chosen = node(
        "If", ["c"], ["y"], name="gate",
        then_branch=_branch("then", "Relu"), else_branch=_branch("else", "Neg"),
    )  # fmt: skip
    _write(tmp_path, [chosen], inputs={**X, "c": ("bool", [])})
    assert _refusal(tmp_path, x=(1, 4)).metadata["node"] == "gate"


def _refusal(folder: Path, **shapes: tuple[int, ...]) -> EdgeconvError:
    with pytest.raises(EdgeconvError) as caught:
        _interpret(folder, **shapes)
    assert caught.value.reason is Reason.OPERATOR_UNSUPPORTED
    return caught.value


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (node("LSTM", ["x3", "w", "r"], ["y"], hidden_size=2, clip=1.0), "clips"),
        (node("LSTM", ["x3", "w", "r"], ["y"], hidden_size=2, input_forget=1), "coupled"),
        (
            node("LSTM", ["x3", "w", "r"], ["y"], hidden_size=2,
                 activations=["Relu", "Tanh", "Tanh"]),
            "activations",
        ),
        (node("LSTM", ["x3", "w", "r", "", "", "", "", "p"], ["y"], hidden_size=2), "peepholes"),
        (node("LSTM", ["x3", "w", "r", "", "lengths"], ["y"], hidden_size=2), "length"),
    ],
)  # fmt: skip
def test_recurrent_layers_that_torch_can_not_say_are_refused(
    tmp_path: Path, made: onnx.NodeProto, words: str
) -> None:
    constants = {
        "w": np.ones((1, 8, 3), np.float32), "r": np.ones((1, 8, 2), np.float32),
        "p": np.ones((1, 6), np.float32), "lengths": np.array([4, 5], np.int32),
    }  # fmt: skip
    _write(
        tmp_path, [made], constants, inputs={"x3": ("float32", [5, 2, 3])},
        outputs={"y": ("float32", [5, 1, 2, 2])},
    )  # fmt: skip
    assert words in _refusal(tmp_path).message


def test_an_attribute_that_no_one_reads_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, [node("Relu", ["x"], ["y"], name="odd", consumed_inputs=[0])])
    error = _refusal(tmp_path, x=(1, 4))
    assert "'consumed_inputs'" in error.message


def test_an_output_that_is_not_computed_is_refused(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["y", "z"])]
    _write(tmp_path, nodes, outputs={**Y, "z": ("float32", ["n", 4])})
    assert "output 1" in _refusal(tmp_path, x=(1, 4)).message


@pytest.mark.parametrize(
    ("made", "operator"),
    [
        (node("Reshape", ["x", "s"], ["y"]), "Reshape"),
        (node("Expand", ["x", "s"], ["y"]), "Expand"),
        (node("Slice", ["x", "s", "s"], ["y"]), "Slice"),
    ],
)
def test_shapes_that_are_computed_at_run_time_are_refused(
    tmp_path: Path, made: onnx.NodeProto, operator: str
) -> None:
    _write(tmp_path, [made], inputs={**X, "s": ("int64", [2])})
    error = _refusal(tmp_path, x=(1, 4))
    assert error.metadata["operator"] == operator
    assert "not a constant" in error.message


def test_random_numbers_are_refused(tmp_path: Path) -> None:
    nodes = [
        node("RandomNormal", [], ["noise"], shape=[1, 4], name="dice"),
        node("Add", ["x", "noise"], ["y"]),
    ]
    _write(tmp_path, nodes)
    assert _refusal(tmp_path, x=(1, 4)).metadata["node"] == "dice"


def test_planning_takes_no_memory_for_activations(tmp_path: Path) -> None:
    """A walk with real tensors of this shape would need 8 GiB."""
    nodes = [node("Relu", ["x"], ["t"]), node("ReduceSum", ["t", "axes"], ["y"])]
    _write(
        tmp_path, nodes, {"axes": np.array([0])}, inputs={"x": ("float32", ["n", 4])},
        outputs={"y": ("float32", [1, 4])},
    )  # fmt: skip
    reset_peak()
    before = read_peak().peak_bytes
    assert _operators(tmp_path, {"x": (1 << 28, 4)}) == ["Relu", "ReduceSum"]
    assert read_peak().peak_bytes - before < 1 << 30


def test_integers_divided_by_an_input_can_be_planned(tmp_path: Path) -> None:
    inputs = {"a": ("int32", [3]), "b": ("int32", [3])}
    _write(tmp_path, [node("Div", ["a", "b"], ["y"])], inputs=inputs,
           outputs={"y": ("int32", [3])})  # fmt: skip
    made = _interpret(tmp_path).interpreter
    a, b = torch.tensor([7, -7, 9], dtype=torch.int32), torch.tensor([2, 2, -4], dtype=torch.int32)
    assert made(a, b)[0].tolist() == [3, -3, -2]


def test_a_number_costs_no_weight_and_a_shared_tensor_is_kept_once(tmp_path: Path) -> None:
    nodes = [
        node("Add", ["x", "one"], ["t"]),
        node("Mul", ["t", "wide"], ["u"]),
        node("Sub", ["u", "wide"], ["y"]),
    ]
    constants = {"one": np.array([1.5], np.float32), "wide": np.arange(4, dtype=np.float32)}
    _write(tmp_path, nodes, constants)
    made = _interpret(tmp_path, x=(2, 4)).interpreter
    assert [name for name, _ in made.named_parameters()] == ["weights.t_wide"]
    value = torch.rand(2, 4)
    wide = torch.arange(4.0)
    assert torch.equal(made(value)[0], (value + 1.5) * wide - wide)


@pytest.mark.parametrize(
    ("operator", "index", "more"),
    [
        ("Gather", np.array(4), {"axis": 1}),
        ("Gather", np.array([-5]), {"axis": 1}),
        ("Gather", np.array([0, 3, 4]), {"axis": 1}),
        ("GatherElements", np.array([[0, -5]]), {"axis": 1}),
        ("GatherND", np.array([[0, 4]]), {}),
        ("ScatterElements", np.array([[4]]), {"axis": 1}),
        ("ScatterND", np.array([[0, 4]]), {}),
    ],
)
def test_an_index_outside_its_axis_is_refused(
    tmp_path: Path, operator: str, index: NDArray[Any], more: dict[str, Any]
) -> None:
    constants: dict[str, NDArray[Any]] = {"places": index.astype(np.int64)}
    given = ["x", "places"]
    if operator.startswith("Scatter"):
        shape = (1, 1) if operator == "ScatterElements" else (1,)
        constants["new"] = np.ones(shape, np.float32)
        given.append("new")
    _write(tmp_path, [node(operator, given, ["y"], name="pick", **more)], constants)
    error = _refusal(tmp_path, x=(1, 4))
    assert error.metadata["node"] == "pick"
    assert "outside an axis of 4" in error.message
