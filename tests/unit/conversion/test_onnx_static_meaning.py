"""Static int8 ONNX computes what the graph does, whatever the quantizer makes of its operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from edgeconv.conversion.finishes.onnx_proof import optimizer_flags
from edgeconv.conversion.onnx_file import operator_counts, read_onnx
from edgeconv.conversion.program import Artifact
from edgeconv.conversion.samples import Samples
from edgeconv.testing.conversions import finish, runtime_outputs
from edgeconv.testing.onnx_graphs import node
from edgeconv.testing.user_graphs import decibels, normal_samples, taken, weight

IMAGE = (1, 16, 9, 9)


def between(
    folder: Path, nodes: list[NodeProto], constants: dict[str, NDArray[Any]], *, last: bool = False
) -> Artifact:
    """A convolution, the nodes from "a" to "b" (or "y"), and another convolution if not last."""
    whole = [node("Conv", ["x", "k0"], ["a"], pads=[1] * 4), *nodes]
    weights = {"k0": weight(16, 16, 3, 3)}
    made: tuple[int, ...] = IMAGE
    if not last:
        whole.append(node("Conv", ["b", "k1"], ["y"], pads=[1] * 4))
        weights["k1"], made = weight(8, 16, 3, 3), (1, 8, 9, 9)
    return taken(folder, whole, IMAGE, made, {**weights, **constants})


def scalar(value: float) -> NDArray[Any]:
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


def gemm(folder: Path, bias: tuple[int, ...], *, dynamic: bool = False, **options: Any) -> Artifact:
    """One Gemm from 4×32 to 4×24."""
    flipped = (32, 4) if options.get("transA") else (4, 32)
    nodes = [node("Gemm", ["x", "w", "c"], ["y"], **options)]
    constants = {"w": weight(*((24, 32) if options.get("transB") else (32, 24)))}
    if dynamic:
        nodes = [
            node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1),
            node("Mul", ["m", "ones"], ["c"]),
            *nodes,
        ]
        constants["ones"] = weight(1, 24) * 20
    else:
        constants["c"] = weight(*bias, seed=1) * 5
    return taken(folder, nodes, flipped, (4, 24), constants)


# The quantizer writes beta as 1: -10 dB with 3, -15 dB with 0.
@pytest.mark.parametrize("name", ["int8-static", "int8-dynamic"])
@pytest.mark.parametrize(
    "factors", [{"beta": 3.0}, {"beta": 0.0}, {"alpha": 0.5}, {"alpha": 0.5, "beta": 3.0}], ids=str
)
def test_factors_of_a_gemm_are_kept(factors: dict[str, float], name: str, tmp_path: Path) -> None:
    artifact = gemm(tmp_path, (24,), transB=1, **factors)
    assert decibels(tmp_path, artifact, name) > 25


@pytest.mark.parametrize("dynamic", [False, True], ids=["constant bias", "computed bias"])
@pytest.mark.parametrize("bias", [(24,), (1, 24), (1,), (), (4, 1), (4, 24)], ids=str)
def test_any_bias_of_a_gemm_is_taken(bias: tuple[int, ...], dynamic: bool, tmp_path: Path) -> None:
    artifact = gemm(tmp_path, bias, dynamic=dynamic, transA=1 - dynamic, beta=2.0)
    assert decibels(tmp_path, artifact, "int8-static") > 30


def test_a_column_as_bias_of_a_square_gemm_is_no_row(tmp_path: Path) -> None:
    nodes = [node("Gemm", ["x", "w", "c"], ["y"])]
    constants = {"w": weight(32, 24), "c": weight(24, 1) * 20}
    artifact = taken(tmp_path, nodes, (24, 32), (24, 24), constants)
    assert decibels(tmp_path, artifact, "int8-static") > 30


@pytest.mark.parametrize("name", ["int8-static", "int8-dynamic"])
def test_names_that_the_model_uses_itself_are_left_to_it(name: str, tmp_path: Path) -> None:
    nodes = [
        node("Relu", ["x"], ["y/product"]),
        node("Gemm", ["y/product", "w", "y/bias"], ["y"], transB=1, beta=3.0),
    ]
    constants = {"w": weight(24, 32), "y/bias": weight(1, 24, seed=1) * 5}
    artifact = taken(tmp_path, nodes, (4, 32), (4, 24), constants)
    assert decibels(tmp_path, artifact, name) > 25


@pytest.mark.parametrize("group", [1, 4])
def test_biases_of_transposed_convolutions_in_groups_are_taken(group: int, tmp_path: Path) -> None:
    nodes = [node("ConvTranspose", ["a", "w", "c"], ["y"], group=group, strides=[2, 2])]
    constants = {"w": weight(16, 16 // group, 3, 3), "c": weight(16)}
    source = [node("Conv", ["x", "k0"], ["a"], pads=[1] * 4), *nodes]
    constants["k0"] = weight(16, 16, 3, 3)
    artifact = taken(tmp_path, source, IMAGE, (1, 16, 19, 19), constants)
    assert decibels(tmp_path, artifact, "int8-static") > 30


# One copy has its scales along one axis, and integer kernels take them along another: 13 dB.
SHARED = {
    "Gemm both ways": [
        node("Gemm", ["x", "w"], ["a"], transB=1),
        node("Relu", ["a"], ["r"]),
        node("Gemm", ["r", "w"], ["y"]),
    ],
    "MatMul and Gemm": [
        node("MatMul", ["x", "w"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("Gemm", ["r", "w"], ["y"], transB=1),
    ],
    "MatMul and table": [
        node("MatMul", ["x", "w"], ["a"]),
        node("Gather", ["w", "rows"], ["t"]),
        node("Add", ["a", "t"], ["y"]),
    ],
}


def skewed() -> NDArray[np.float32]:
    """Rows and columns of very different sizes."""
    sizes = np.geomspace(0.02, 1, 64, dtype=np.float32)
    return weight(64, 64) * sizes * sizes[::-1, None] * 4


@pytest.mark.parametrize("name", ["int8-static", "int8-dynamic"])
@pytest.mark.parametrize("kind", SHARED)
def test_a_weight_that_is_read_in_two_ways(kind: str, name: str, tmp_path: Path) -> None:
    constants = {"w": skewed(), "rows": np.array([0, 3, 5, 63])}
    artifact = taken(tmp_path, SHARED[kind], (4, 64), (4, 64), constants)
    assert decibels(tmp_path, artifact, name) > 25


class _Feeds(CalibrationDataReader):
    def __init__(self, samples: Samples) -> None:
        self._left = iter(samples)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._left, None)


# As the quantizer alone writes it: its own kernels read the scales along the other axis.
def test_what_the_optimizer_makes_something_else_of_is_flagged(tmp_path: Path) -> None:
    constants = {"w": skewed()}
    artifact = taken(tmp_path, SHARED["MatMul and Gemm"], (4, 64), (4, 64), constants)
    given, spoilt = normal_samples((4, 64)), tmp_path / "spoilt.onnx"
    quantize_static(str(artifact.path), str(spoilt), _Feeds(given), per_channel=True)
    [note] = optimizer_flags(artifact, spoilt, given)
    assert (note.kind, note.subject) == ("flagged", "y")
    made, effect = finish(artifact, "int8-static", tmp_path / "int8", samples=given)
    assert optimizer_flags(artifact, made.path, given) == []
    assert not [each for each in effect.notes if each.kind == "flagged"]


def test_a_kernel_of_a_convolution_and_its_transposed(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        node("ConvTranspose", ["a", "w"], ["y"], pads=[1] * 4),
    ]
    sizes = np.geomspace(0.05, 1, 16, dtype=np.float32)
    kernel = weight(16, 16, 3, 3) * sizes[:, None, None, None] * sizes[::-1, None, None] * 4
    artifact = taken(tmp_path, nodes, IMAGE, IMAGE, {"w": kernel})
    assert decibels(tmp_path, artifact, "int8-static") > 25
    # In float the optimizer adds up in another order: some 130 dB, which is nothing to flag.
    assert optimizer_flags(artifact, artifact.path, normal_samples(IMAGE)) == []


def test_a_weight_that_is_read_twice_in_one_way_is_stored_once(tmp_path: Path) -> None:
    nodes = [
        node("Gemm", ["x", "w"], ["a"], transB=1),
        node("Relu", ["a"], ["r"]),
        node("Gemm", ["r", "w"], ["y"], transB=1),
    ]
    artifact = taken(tmp_path, nodes, (4, 64), (4, 64), {"w": weight(64, 64)})
    given = normal_samples((4, 64))
    made, _ = finish(artifact, "int8-static", tmp_path / "int8", samples=given)
    stored = [t for t in read_onnx(made.path).graph.initializer if list(t.dims) == [64, 64]]
    assert len(stored) == 1
