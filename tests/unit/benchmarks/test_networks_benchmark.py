"""What the networks benchmark calls a failure, and that no case gets lost in its table."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from benchmarks.nets.files import NETS, make_net
from benchmarks.networks import NETWORKS, failures, table


def _target(passed: bool = True, snr_db: float | None = 100.0) -> dict[str, Any]:
    output = {"output": "y", "snr_db": snr_db, "max_abs_error": 1e-6, "passed": passed}
    return {"outputs": [output], "passed": passed, "seconds": 2.0, "size_bytes": 50}


def _figures(**targets: dict[str, Any]) -> dict[str, Any]:
    return {
        "targets": targets, "intake_seconds": 1.0, "peak_memory_bytes": 2**20,
        "weights_bytes": 100, "latency": {"onnx_p50_ns": 4e6, "tflite_p50_ns": 1e6},
    }  # fmt: skip


def _printed(results: dict[str, dict[str, Any]]) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(table(results))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_network_that_holds_has_no_failure_and_all_its_figures() -> None:
    figures = _figures(onnx=_target(), tflite=_target())
    assert list(failures("net", figures)) == []
    text = _printed({"net": figures})
    for words in ("100 dB", "3.0", "1 MiB", "0.50", "4.00 ms", "1.00 ms", "0.25"):
        assert words in text


def test_every_kind_of_failure_is_said_and_stays_in_the_table() -> None:
    lost = _figures(onnx={"error": "LOWERING_FAILED: no", "passed": False},
                    tflite=_target(passed=False, snr_db=12.0))  # fmt: skip
    assert list(failures("net", lost)) == [
        "net → onnx: LOWERING_FAILED: no",
        "net → tflite: y has 12.0 dB, error 1e-06",
    ]
    assert list(failures("dead", {"error": "child ended"})) == ["dead: child ended"]
    text = _printed({"net": lost, "dead": {"error": "child ended"}})
    assert text.count("failed") == 2
    assert "12 dB FAILED" in text


def test_the_cases_are_three_trained_networks_and_four_from_both_formats() -> None:
    names = [network.name for network in NETWORKS]
    assert len(names) == 3 + 2 * len(NETS) == len(set(names))


@pytest.mark.parametrize("name", sorted(NETS))
def test_a_net_is_the_same_each_time_and_its_output_depends_on_its_input(name: str) -> None:
    import torch

    first, inputs = make_net(name, small=True)
    second, _ = make_net(name, small=True)
    assert not first.training
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key]), key
    torch.manual_seed(1)
    scores = []
    for _ in range(2):
        feeds = [
            torch.randn_like(each) if each.is_floating_point() else torch.randint_like(each, 1, 99)
            for each in inputs.values()
        ]
        with torch.no_grad():
            made = first(*feeds)
        scores.append(made[0] if isinstance(made, tuple) else made)
    spread = (scores[0] - scores[1]).abs().max() / scores[0].abs().max()
    assert spread > 0.01
