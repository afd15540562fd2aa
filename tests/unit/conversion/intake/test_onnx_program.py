"""ONNX → Program: the interface to the letter, tensors of its own, origins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake import take_in
from edgeconv.conversion.program import Program
from edgeconv.recipe.signature import DType
from edgeconv.testing.onnx_graphs import Declared, node, write_graph


def _take(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Declared,
    outputs: Declared,
    constants: Mapping[str, NDArray[Any]] | None = None,
    **shapes: tuple[int, ...],
) -> Program:
    write_graph(folder / "m.onnx", nodes, inputs, outputs, constants)
    return take_in(folder, "sha256:source", shapes, lambda fraction, words: None)[0]


def _run(program: Program, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        made: tuple[torch.Tensor, ...] = program.exported.module(check_guards=False)(*inputs)
    return made


def test_names_that_are_no_identifiers_are_kept(tmp_path: Path) -> None:
    program = _take(
        tmp_path,
        [node("Add", ["in/put:0", "p2o.x"], ["out put"])],
        {"in/put:0": ("float32", [2]), "p2o.x": ("float32", [2])},
        {"out put": ("float32", [2])},
    )
    assert [spec.name for spec in program.signature.inputs] == ["in/put:0", "p2o.x"]
    assert [spec.name for spec in program.signature.outputs] == ["out put"]


def test_outputs_may_be_inputs_constants_and_repeated(tmp_path: Path) -> None:
    program = _take(
        tmp_path,
        [node("Relu", ["x"], ["r"]), node("Identity", ["x"], ["same"])],
        {"x": ("float32", [3]), "unused": ("int64", [1])},
        {
            "r": ("float32", [3]), "c": ("int64", [2]), "same": ("float32", [3]),
            "x": ("float32", [3]),
        },
        {"c": np.array([1, 2])},
    )  # fmt: skip
    value = torch.tensor([-1.0, 0.0, 2.0])
    relu, constant, same, given = _run(program, value, torch.zeros(1, dtype=torch.int64))
    assert torch.equal(relu, torch.relu(value))
    assert constant.tolist() == [1, 2]
    assert torch.equal(same, value)
    assert torch.equal(given, value)
    assert [spec.name for spec in program.signature.inputs] == ["x", "unused"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8", "uint8", "int32",
                                   "int64", "bool"])  # fmt: skip
def test_element_types_and_rank_zero_are_kept(tmp_path: Path, dtype: str) -> None:
    program = _take(
        tmp_path, [node("Identity", ["x"], ["y"])], {"x": (dtype, [])}, {"y": (dtype, [])}
    )
    assert program.signature.inputs[0].shape == ()
    assert program.signature.outputs[0].dtype is DType(dtype)
    assert program.signature.outputs[0].shape == ()


def test_open_axes_take_the_sizes_given(tmp_path: Path) -> None:
    program = _take(
        tmp_path, [node("Relu", ["x"], ["y"])], {"x": ("float32", ["n", "time"])},
        {"y": ("float32", ["n", "time"])}, x=(2, 7),
    )  # fmt: skip
    assert program.signature.outputs[0].shape == (2, 7)


def test_an_axis_without_a_size_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError) as caught:
        _take(tmp_path, [node("Relu", ["x"], ["y"])], {"x": ("float32", ["n", "time"])},
              {"y": ("float32", ["n", "time"])})  # fmt: skip
    assert caught.value.reason is Reason.DIMENSION_UNKNOWN
    assert caught.value.metadata["axis"] == "1"


def test_every_tensor_is_contiguous_and_alone(tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).standard_normal((3, 3, 4, 2)).astype(np.float32)
    program = _take(
        tmp_path,
        [
            node("Conv", ["x", "w"], ["c"]),
            node("MatMul", ["c", "m"], ["d"]),
            node("Add", ["d", "m2"], ["y"]),
        ],
        {"x": ("float32", [1, 4, 5, 5])},
        {"y": ("float32", [1, 3, 3, 2])},
        {
            # Transposed on purpose: the file holds it contiguous, a careless reader does not.
            "w": np.ascontiguousarray(kernel.transpose(0, 2, 1, 3)[:, :, :, :1].repeat(3, 3)),
            "m": np.eye(3, 2, dtype=np.float32),
            "m2": np.eye(3, 2, dtype=np.float32),
        },
    )
    tensors = [*program.exported.state_dict.values(), *program.exported.constants.values()]
    assert all(tensor.is_contiguous() for tensor in tensors)
    places = [tensor.untyped_storage().data_ptr() for tensor in tensors]
    assert len(set(places)) == len(places)
    assert all(isinstance(tensor, torch.nn.Parameter) for tensor in tensors)


def test_every_operator_knows_its_onnx_node(tmp_path: Path) -> None:
    program = _take(
        tmp_path,
        [node("Relu", ["x"], ["r"], name="stem/relu"), node("Exp", ["r"], ["y"])],
        {"x": ("float32", [3])},
        {"y": ("float32", [3])},
    )
    operators = [n.name for n in program.exported.graph.nodes if n.op == "call_function"]
    assert [program.origins[name] for name in operators] == ["stem/relu", "Exp_1"]


def test_lineage_begins_with_the_source_and_says_the_shapes(tmp_path: Path) -> None:
    program = _take(
        tmp_path, [node("Relu", ["x"], ["y"])], {"x": ("float32", ["n"])},
        {"y": ("float32", ["n"])}, x=(3,),
    )  # fmt: skip
    assert program.lineage.source == "sha256:source"
    [step] = program.lineage.steps
    assert (step.kind, step.options) == ("intake", {"shapes": {"x": [3]}})
    assert step.effect is not None
    assert step.effect.figures["operators"] == 1


def test_no_trace_of_sample_inputs_or_of_this_code_is_stored(tmp_path: Path) -> None:
    program = _take(
        tmp_path, [node("Relu", ["x"], ["y"])], {"x": ("float32", [3])}, {"y": ("float32", [3])}
    )
    stored = tmp_path / "stored"
    stored.mkdir()
    program.save(stored)
    content = (stored / "program.pt2").read_bytes()
    assert b"interpreter.py" not in content
    again = Program.load(stored)
    assert again.signature == program.signature
    assert again.origins == program.origins


def test_the_same_file_gives_the_same_program(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["t"]), node("Softmax", ["t"], ["y"])]
    weights = {"w": np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)}
    texts = []
    for _ in range(2):
        program = _take(
            tmp_path, nodes, {"x": ("float32", [2, 4])}, {"y": ("float32", [2, 4])}, weights
        )
        texts.append(str(program.exported.graph))
    assert texts[0] == texts[1]
