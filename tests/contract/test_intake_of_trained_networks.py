"""Trained networks as Programs in torch, against ONNX Runtime, before any conversion."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from edgeconv.conversion.intake import take_in
from edgeconv.conversion.intake.onnx.blame import blame, main
from edgeconv.conversion.program import Program
from tools.fetch_models import fetch

SHAPES = {
    "cls": {"x": (1, 3, 48, 192)},
    "rec": {"x": (1, 3, 48, 320)},
    "silero": {"input": (31, 576)},
}


def _take(name: str, folder: Path) -> Program:
    (folder / "m.onnx").symlink_to(fetch(name))
    return take_in(folder, "sha256:0", SHAPES[name], lambda fraction, words: None)[0]


def _operators(program: Program) -> Counter[str]:
    nodes = program.exported.graph.nodes
    return Counter(str(node.target) for node in nodes if node.op == "call_function")


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_tensor_agrees_with_the_runtime(name: str) -> None:
    found = blame(fetch(name), SHAPES[name])
    assert len(found) > 20
    assert [each for each in found if each.snr_db < 90] == []


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_fusion_keeps_every_tensor_that_is_left(name: str) -> None:
    found = blame(fetch(name), SHAPES[name], fused=True)
    assert [each for each in found if each.snr_db < 80] == []


def test_shape_arithmetic_and_normalization_leave_no_operator(tmp_path: Path) -> None:
    made = _operators(_take("cls", tmp_path))
    assert made["aten.conv2d.default"] == 53
    assert made["aten.hardswish.default"] == 18
    assert not any("batch_norm" in name or "slice" in name or "cat" in name for name in made)
    assert sum(made.values()) <= 150


def test_a_recurrent_layer_stays_one_operator(tmp_path: Path) -> None:
    program = _take("silero", tmp_path)
    assert _operators(program)["aten.lstm.input"] == 1
    weights = sum(tensor.numel() for tensor in program.exported.state_dict.values())
    assert weights < 320_000


def test_the_user_can_ask_where_the_importer_goes_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([str(fetch("silero")), "--shape", "input=31,576"]) == 0
    assert "0 faulty" in capsys.readouterr().out


def test_blame_finds_the_node_that_computes_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edgeconv.conversion.intake.onnx.call import HANDLERS, Call, Entry, Value

    def wrong(call: Call, x: Value) -> torch.Tensor:
        return torch.relu(call.tensor(x)) * 1.01

    entry = HANDLERS["Relu"][0]
    monkeypatch.setitem(HANDLERS, "Relu", [Entry(wrong, entry.versions)])
    faulty = [each for each in blame(fetch("silero"), SHAPES["silero"]) if each.faulty]
    assert faulty[0].node == "/Relu"
    assert faulty[0].operator == "Relu"
