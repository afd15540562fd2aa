"""ONNX files: cleaned, sorted, written in one way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgeconv.conversion import onnx_file
from edgeconv.conversion.onnx_file import (
    drop_wrong_value_infos,
    has_traces,
    number_nodes,
    operator_counts,
    opset_of,
    read_onnx,
    sort_nodes,
    strip,
    weight_types,
    write_onnx,
)


def chain(length: int = 5) -> ModelProto:
    """A row of additions of one weight."""
    nodes = [helper.make_node("Add", [f"t{i}", "w"], [f"t{i + 1}"]) for i in range(length)]
    specs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("t0", f"t{length}")
    ]
    weight = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    graph = helper.make_graph(nodes, "chain", specs[:1], specs[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@given(st.permutations(range(6)))
def test_nodes_are_put_behind_what_they_read(order: list[int]) -> None:
    model = chain(6)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[place] for place in order)
    sort_nodes(model.graph)
    onnx.checker.check_model(model)
    assert [node.output[0] for node in model.graph.node] == [f"t{i + 1}" for i in range(6)]


def test_nodes_that_read_each_other_are_refused() -> None:
    model = chain(2)
    model.graph.node[0].input[0] = "t2"
    with pytest.raises(ValueError, match="depend on each other"):
        sort_nodes(model.graph)


def test_a_node_waits_for_what_its_inner_graph_reads() -> None:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["t1"], ["inner"])],
        "inner",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [4])],
    )
    model = chain(1)
    node = helper.make_node("If", ["yes"], ["out"], then_branch=inner, else_branch=inner)
    model.graph.node.insert(0, node)
    sort_nodes(model.graph)
    assert [each.op_type for each in model.graph.node] == ["Add", "If"]


def test_traces_are_found_and_removed_in_inner_graphs_too() -> None:
    inner = helper.make_graph([helper.make_node("Identity", ["a"], ["b"])], "inner", [], [])
    inner.node[0].doc_string = "/somewhere/ann/net.py"
    model = chain(1)
    assert not has_traces(model)
    model.graph.node.append(helper.make_node("If", ["yes"], ["out"], then_branch=inner))
    model.doc_string = "/somewhere/ann"
    assert has_traces(model)
    strip(model)
    assert not has_traces(model)
    assert b"ann" not in model.SerializeToString()


def test_value_infos_of_weights_are_dropped_and_others_stay() -> None:
    model = chain(2)
    for name in ("w", "t1"):
        info = helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])
        model.graph.value_info.append(info)
    drop_wrong_value_infos(model)
    assert [value.name for value in model.graph.value_info] == ["t1"]


def test_what_a_file_consists_of() -> None:
    model = chain(3)
    assert operator_counts(model) == {"Add": 3}
    assert weight_types(model) == {"float": 16}
    assert opset_of(model) == 18
    number_nodes(model.graph.node)
    assert [node.name for node in model.graph.node] == ["Add_0", "Add_1", "Add_2"]


def test_equal_graphs_are_equal_bytes_whatever_the_order_of_domains(tmp_path: Path) -> None:
    contents = []
    for domains in (("", "com.microsoft"), ("com.microsoft", "")):
        model = chain()
        del model.opset_import[:]
        model.opset_import.extend(helper.make_opsetid(domain, 18) for domain in domains)
        contents.append(write_onnx(model, tmp_path).read_bytes())
    assert contents[0] == contents[1]


def test_large_weights_go_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "_LARGE_BYTES", 10_000)
    model = chain(1)
    big = numpy_helper.from_array(np.ones((100, 100), np.float32), "big")
    model.graph.initializer.append(big)
    path = write_onnx(model, tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert path.stat().st_size < 10_000
    assert weight_types(read_onnx(path)) == {"float": 40_016}
