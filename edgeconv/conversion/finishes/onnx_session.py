"""ONNX Runtime as the finishes need it: at a chosen level, its own graph written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

# Loads the library with its telemetry off.
from edgeconv.runtimes.onnxruntime import child as _silent  # isort: skip
import onnxruntime

assert _silent

Level = Literal["none", "basic", "all"]
_LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_ERRORS_ONLY = 3


def open_graph(path: Path, level: Level, *, written: Path | None = None) -> Any:
    """A session on the CPU.

    Args:
        level: How far the runtime may rewrite the graph; "basic" keeps to standard
            operators and leaves open axes open.
        written: Where it writes the graph that it made of the file.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.graph_optimization_level = _LEVELS[level]
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if written is not None:
        options.optimized_model_filepath = str(written)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
