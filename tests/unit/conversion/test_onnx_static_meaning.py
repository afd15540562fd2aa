"""Static int8 ONNX computes what the graph does, whatever the quantizer makes of its operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto

from edgeconv.conversion.onnx_file import operator_counts, read_onnx
from edgeconv.conversion.program import Artifact
from edgeconv.testing.conversions import finish, runtime_outputs
from edgeconv.testing.onnx_graphs import node
from edgeconv.testing.user_graphs import decibels, normal_samples, taken, weight

IMAGE = (1, 16, 9, 9)


def between(
    folder: Path, nodes: list[NodeProto], constants: dict[str, np.ndarray], *, last: bool = False
) -> Artifact:
    """A convolution, the nodes from "a" to "b" (or "y"), and another convolution if not last."""
    whole = [node("Conv", ["x", "k0"], ["a"], pads=[1] * 4), *nodes]
    weights = {"k0": weight(16, 16, 3, 3)}
    made: tuple[int, ...] = IMAGE
    if not last:
        whole.append(node("Conv", ["b", "k1"], ["y"], pads=[1] * 4))
        weights["k1"], made = weight(8, 16, 3, 3), (1, 8, 9, 9)
    return taken(folder, whole, IMAGE, made, {**weights, **constants})


def scalar(value: float) -> np.ndarray:
    return np.array(value, np.float32)


# Every range holds zero: without the Clip 8 dB, and outputs below their own bound.
@pytest.mark.parametrize(("low", "high"), [(0.3, 6.0), (-1.0, -0.2)])
def test_a_clip_beside_zero_stays(low: float, high: float, tmp_path: Path) -> None:
    nodes = [node("Clip", ["a", "low", "high"], ["b"])]
    artifact = between(tmp_path, nodes, {"low": scalar(low), "high": scalar(high)})
    assert decibels(tmp_path, artifact, "int8-static") > 25


def test_outputs_of_a_clip_beside_zero_keep_its_bounds(tmp_path: Path) -> None:
    nodes = [node("Clip", ["a", "low", "high"], ["y"])]
    artifact = between(tmp_path, nodes, {"low": scalar(0.3), "high": scalar(6)}, last=True)
    given = normal_samples(IMAGE)
    made, effect = finish(artifact, "int8-static", tmp_path / "int8", samples=given)
    assert runtime_outputs(made, given)["y"].min() >= np.float32(0.3)
    assert [note.subject for note in effect.notes if note.kind == "stayed_float"] == ["Clip"]


@pytest.mark.parametrize("bounds", [(0, 6), (-1, 1), (None, 0.2)], ids=str)
def test_a_clip_around_zero_is_left_to_the_range(
    bounds: tuple[float | None, float], tmp_path: Path
) -> None:
    low, high = bounds
    constants = {"high": scalar(high)} | ({} if low is None else {"low": scalar(low)})
    nodes = [node("Clip", ["a", "" if low is None else "low", "high"], ["b"])]
    artifact = between(tmp_path, nodes, constants)
    made, _ = finish(artifact, "int8-static", tmp_path / "once", samples=normal_samples(IMAGE))
    assert "Clip" not in operator_counts(read_onnx(made.path))
    assert decibels(tmp_path, artifact, "int8-static") > 25
