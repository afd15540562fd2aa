"""Small ONNX files that ask for memory or time without measure, or are not well formed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import AttributeProto, FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.memory import read_peak, reset_peak
from edgeconv.conversion.intake import inspect_source
from edgeconv.testing.onnx_graphs import node


def _write(
    folder: Path, nodes: Sequence[NodeProto], shape: Sequence[int | str] = (1, 4),
    functions: Sequence[FunctionProto] = (), **constants: Any,
) -> None:  # fmt: skip
    graph = helper.make_graph(
        nodes, "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(
        graph, functions=functions, ir_version=8,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
    )  # fmt: skip
    (folder / "model.onnx").write_bytes(model.SerializeToString())


@pytest.fixture(scope="module", autouse=True)
def _libraries_are_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Their memory is not that of a file."""
    folder = tmp_path_factory.mktemp("honest")
    _write(folder, [node("Relu", ["x"], ["y"])])
    inspect_source(folder)


def _refusal(folder: Path) -> EdgeconvError:
    reset_peak()
    before = read_peak().peak_bytes
    with pytest.raises(EdgeconvError) as caught:
        inspect_source(folder)
    assert read_peak().peak_bytes - before < 2**28
    return caught.value


@pytest.mark.parametrize(
    ("operator", "constants"),
    [
        ("Expand", {"a": [0.0], "b": [2**20, 2**22]}),
        ("Expand", {"a": np.zeros(1, np.float32), "b": [2**15, 2**15]}),
        ("Tile", {"a": [0.0], "b": [2**41]}),
        ("Add", {"a": [[0.0]] * 2**17, "b": [[0.0] * 2**17]}),
        ("Range", {"a": 0, "b": 2**30, "c": 1}),
        ("ConstantOfShape", {"a": [2**16, 2**17]}),
        ("OneHot", {"a": [0], "b": 2**30, "c": [0.0, 1.0]}),
        ("Pad", {"a": [0.0], "b": [0, 2**31]}),
        ("HannWindow", {"a": 2**31}),
    ],
)
def test_a_constant_without_measure_is_refused_before_memory_is_taken(
    tmp_path: Path, operator: str, constants: dict[str, Any]
) -> None:
    made = [node(operator, list(constants), ["big"]), node("ReduceMax", ["big"], ["y"])]
    _write(tmp_path, made, **constants)
    error = _refusal(tmp_path)
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert operator in error.message


@pytest.mark.parametrize("read", ["x", "a"])
@pytest.mark.parametrize("factors", [[1, 1, 1e6, 1e6], [1, 1, 1, 1.2e8]])
def test_a_resize_without_measure_is_refused(
    tmp_path: Path, read: str, factors: list[float]
) -> None:
    scales = np.array(factors, np.float32)
    made = node("Resize", [read, "", "scales"], ["y"], mode="nearest")
    _write(tmp_path, [made], [1, 1, 8, 8], scales=scales, a=np.zeros((1, 1, 8, 8), np.float32))
    assert _refusal(tmp_path).reason is Reason.OPERATOR_UNSUPPORTED


def test_a_computed_tensor_without_measure_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, [node("Expand", ["x", "to"], ["y"])], to=[2**40, 4])
    error = _refusal(tmp_path)
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert "4 GiB" in error.message


@pytest.mark.parametrize("shape", [[1, 2**40], [1, 2**63 - 1], [1] * 65, [2**31, 2**31]])
def test_an_input_without_measure_is_refused(tmp_path: Path, shape: list[int]) -> None:
    _write(tmp_path, [node("Relu", ["x"], ["y"])], shape)
    error = _refusal(tmp_path)
    assert error.reason is Reason.SHAPE_INVALID
    assert error.metadata["input"] == "x"


def _function(name: str, *calls: str) -> FunctionProto:
    names = ["a", *(f"m{place}" for place in range(len(calls) - 1)), "b"]
    body = [
        helper.make_node(call, [names[place]], [names[place + 1]],
                         domain="" if call == "Relu" else "own")
        for place, call in enumerate(calls)
    ]  # fmt: skip
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], body, versions)


@pytest.mark.parametrize(
    "functions",
    [
        [_function("F0", "F0")],
        [_function("F0", "F1"), _function("F1", "Relu", "F2"), _function("F2", "F0")],
    ],
)
def test_a_function_that_calls_itself_is_unreadable(
    tmp_path: Path, functions: list[FunctionProto]
) -> None:
    _write(tmp_path, [helper.make_node("F0", ["x"], ["y"], domain="own")], functions=functions)
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "calls itself" in error.message


def test_functions_that_double_forty_times_are_refused(tmp_path: Path) -> None:
    functions = [_function(f"F{each}", f"F{each + 1}", f"F{each + 1}") for each in range(40)]
    functions.append(_function("F40", "Relu"))
    _write(tmp_path, [helper.make_node("F0", ["x"], ["y"], domain="own")], functions=functions)
    error = _refusal(tmp_path)
    assert error.reason is Reason.OPERATOR_UNSUPPORTED
    assert "nodes" in error.message


def test_an_attribute_of_another_type_is_unreadable(tmp_path: Path) -> None:
    _write(tmp_path, [node("Softmax", ["x"], ["y"], axis=0.5)])
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "'axis' is of type FLOAT" in error.message


def test_an_attribute_that_is_a_functions_argument_is_unreadable(tmp_path: Path) -> None:
    made = node("Softmax", ["x"], ["y"])
    made.attribute.append(AttributeProto(name="axis", ref_attr_name="a", type="INT"))
    _write(tmp_path, [made])
    assert _refusal(tmp_path).reason is Reason.MODEL_UNREADABLE


def test_a_missing_attribute_is_named(tmp_path: Path) -> None:
    _write(tmp_path, [node("Concat", ["x", "x"], ["y"])])
    error = _refusal(tmp_path)
    assert error.reason is Reason.MODEL_UNREADABLE
    assert "'axis' is missing" in error.message


def _branch(inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    return helper.make_graph(
        [helper.make_node("Relu", ["x"], [name]) for name in outputs], "branch",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in outputs],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flag", "branch"),
    [
        (True, _branch(["z"], ["r"])),
        (True, _branch([], ["r", "s"])),
        ([True, False], _branch([], ["r"])),
    ],
)
def test_a_branch_that_does_not_fit_is_unreadable(tmp_path: Path, flag: Any, branch: Any) -> None:
    made = node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
    _write(tmp_path, [made], flag=flag)
    assert _refusal(tmp_path).reason is Reason.MODEL_UNREADABLE
