"""A model's own functions: nested, of another operator set, and with data of their own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.direct import take_directly
from edgeconv.conversion.intake import inspect_source
from edgeconv.conversion.intake.onnx.model import read_model
from edgeconv.conversion.intake.onnx.program import interpret
from edgeconv.runtimes.onnxruntime.child import load
from edgeconv.testing.onnx_graphs import node

SHAPE = [1, 3, 4]
X = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def _function(name: str, nodes: Sequence[NodeProto], opset: int = 17) -> FunctionProto:
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, opsets)


def _write(folder: Path, nodes: Sequence[NodeProto], *functions: FunctionProto) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "graph", [x], [y]),
        functions=functions,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        ir_version=8,
    )
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _agrees(path: Path) -> None:
    with torch.no_grad():
        got = interpret(read_model(path), {}).interpreter(torch.from_numpy(X))[0].numpy()
    np.testing.assert_allclose(got, load(path).run({"x": X})["y"], atol=1e-6)


def _call(name: str, given: str, made: str) -> NodeProto:
    return node(name, [given], [made], domain="own")


def test_functions_that_call_functions_are_taken(tmp_path: Path) -> None:
    inner = _function("Inner", [node("Exp", ["a"], ["t"]), node("Neg", ["t"], ["b"])])
    outer = _function("Outer", [_call("Inner", "a", "t"), node("Tanh", ["t"], ["b"])])
    calls = [_call("Outer", "x", "t"), _call("Inner", "t", "u"), _call("Outer", "u", "y")]
    path = _write(tmp_path, calls, inner, outer)
    _agrees(path)
    assert inspect_source(tmp_path).operators == {"Exp": 3, "Neg": 3, "Tanh": 2}


def test_a_function_of_another_operator_set_is_taken_for_what_it_means_there(
    tmp_path: Path,
) -> None:
    """Softmax of operator set 11 sums over all axes from its own on, of 17 over one."""
    old = _function("Old", [node("Softmax", ["a"], ["b"], axis=1)], opset=11)
    path = _write(tmp_path, [_call("Old", "x", "y")], old)
    with torch.no_grad():
        got = interpret(read_model(path), {}).interpreter(torch.from_numpy(X))[0]
    np.testing.assert_allclose(float(got.sum()), 1.0, atol=1e-5)


def test_a_function_that_can_not_be_converted_is_named_with_the_reason(tmp_path: Path) -> None:
    new = _function("New", [node("Gelu", ["a"], ["b"])], opset=20)
    path = _write(tmp_path, [_call("New", "x", "y")], new)
    with pytest.raises(EdgeconvError) as caught:
        read_model(path)
    assert caught.value.reason is Reason.OPERATOR_UNSUPPORTED
    assert caught.value.metadata["node"] == "New"


def _external(location: str) -> TensorProto:
    tensor = numpy_helper.from_array(np.ones(SHAPE, np.float32), "weights")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


@pytest.mark.parametrize("place", ["node", "branch", "default"])
def test_data_of_a_function_outside_the_folder_is_unsafe(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(X.tobytes())
    tensor = _external("../secret")
    function = _function("F", [node("Add", ["a", "k"], ["b"])])
    if place == "node":
        function.node.insert(0, node("Constant", [], ["k"], value=tensor))
    elif place == "branch":
        out = helper.make_tensor_value_info("weights", TensorProto.FLOAT, SHAPE)
        branch = helper.make_graph([], "branch", [], [out], [tensor])
        function.node.insert(0, node("If", ["a"], ["k"], then_branch=branch, else_branch=branch))
    else:
        function.attribute_proto.append(helper.make_attribute("value", tensor))
    _write(folder, [_call("F", "x", "y")], function)
    for use in (inspect_source, _take_directly):
        with pytest.raises(EdgeconvError) as caught:
            use(folder)
        assert caught.value.reason is Reason.MODEL_UNSAFE
        assert caught.value.metadata["location"] == "../secret"


def _take_directly(folder: Path) -> None:
    out = folder.parent / "out"
    out.mkdir()
    take_directly(folder, "sha256:" + "1" * 64, {}, out)


def test_data_of_a_function_beside_the_graph_goes_along(tmp_path: Path) -> None:
    folder, out = tmp_path / "model", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    (folder / "weights.bin").write_bytes(X.tobytes())
    constant = node("Constant", [], ["k"], value=_external("weights.bin"))
    _write(
        folder, [_call("F", "x", "y")], _function("F", [constant, node("Add", ["a", "k"], ["b"])])
    )
    read_model(folder / "model.onnx")
    # ONNX Runtime itself may refuse such data; the files go along before it is asked.
    with suppress(EdgeconvError):
        take_directly(folder, "sha256:" + "1" * 64, {}, out)
    assert (out / "weights.bin").read_bytes() == X.tobytes()
