"""What a command loads before it knows what to do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MAX_CPU_S = 0.3
HEAVY = (
    "torch", "onnx", "onnxruntime", "numpy", "sqlalchemy", "scipy", "jax", "ai_edge_litert", "dbos",
)  # fmt: skip


def cpu_seconds(*command: str) -> float:
    """User and system time of a child, which has to end with 0."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def test_help_takes_less_than_three_tenths_of_a_second() -> None:
    # The least of some, for a busy machine only adds to it.
    took = min(cpu_seconds(sys.executable, "-m", "edgeconv", "--help") for _ in range(5))
    assert took < MAX_CPU_S


@pytest.mark.parametrize(
    "module", ["edgeconv.cli.main", "edgeconv.client", "edgeconv.agent.loop", "edgeconv.agent.link"]
)
def test_light_modules_load_no_heavy_library(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint(HEAVY)


def test_server_loads_neither_torch_nor_onnx() -> None:
    code = "import sys, edgeconv.server.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"torch", "onnx", "onnxruntime", "jax", "ai_edge_litert"})
