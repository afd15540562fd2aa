"""ONNX files that are small and deep, long or turned upon themselves: refused, and soon."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake import inspect_source
from edgeconv.testing.onnx_graphs import node

_MODEL_GRAPH, _GRAPH_NODE, _NODE_ATTRIBUTE, _ATTRIBUTE_GRAPH = 7, 1, 5, 6
_SOON_S = 60.0


def field(number: int, content: bytes) -> bytes:
    """A protobuf field that holds a message."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    written = b""
    while value > 0x7F:
        written += bytes([value & 0x7F | 0x80])
        value >>= 7
    return written + bytes([value])


def refusal(folder: Path) -> EdgeconvError:
    began = time.monotonic()
    with pytest.raises(EdgeconvError) as caught:
        inspect_source(folder)
    assert time.monotonic() - began < _SOON_S
    assert len(caught.value.message) < 2000
    return caught.value


@pytest.mark.parametrize("depth", [20, 200, 20_000])
def test_graphs_within_graphs_are_refused(tmp_path: Path, depth: int) -> None:
    graph = b""
    for _ in range(depth):
        graph = field(_GRAPH_NODE, field(_NODE_ATTRIBUTE, field(_ATTRIBUTE_GRAPH, graph)))
    (tmp_path / "model.onnx").write_bytes(field(_MODEL_GRAPH, graph))
    assert refusal(tmp_path).reason in (Reason.MODEL_UNREADABLE, Reason.OPERATOR_UNSUPPORTED)


def test_nodes_without_number_and_content_are_refused(tmp_path: Path) -> None:
    output = field(12, b"\x0a\x01y")
    graph = field(_GRAPH_NODE, b"") * 1_000_000 + output
    (tmp_path / "model.onnx").write_bytes(field(_MODEL_GRAPH, graph))
    assert refusal(tmp_path).reason in (Reason.MODEL_UNREADABLE, Reason.OPERATOR_UNSUPPORTED)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Relu", ["y"], ["y"])],
        [node("Relu", ["b"], ["a"]), node("Relu", ["a"], ["b"]), node("Add", ["x", "b"], ["y"])],
        [node("Add", ["x", "y"], ["b"]), node("Relu", ["b"], ["y"])],
    ],
    ids=["itself", "a ring beside the way", "a ring on the way"],
)
def test_a_ring_is_unreadable(tmp_path: Path, nodes: list[object]) -> None:
    graph = helper.make_graph(
        nodes, "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert refusal(tmp_path).reason is Reason.MODEL_UNREADABLE
