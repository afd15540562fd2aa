"""Small ONNX graphs of a user's own, taken as they are, and how close a finish keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from edgeconv.analysis.agreement import centred_snr_db
from edgeconv.conversion.direct import take_directly
from edgeconv.conversion.program import Artifact
from edgeconv.conversion.samples import Samples
from edgeconv.testing.conversions import finish, runtime_outputs
from edgeconv.testing.onnx_graphs import write_graph

_DIGEST = "sha256:" + "0" * 64


def weight(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Small normal values; equal ones in every call."""
    return np.random.default_rng([seed, *shape]).normal(0, 0.12, shape).astype(np.float32)


def taken(
    folder: Path,
    nodes: Sequence[NodeProto],
    given: Sequence[int],
    made: Sequence[int],
    constants: Mapping[str, NDArray[Any]],
    *,
    opset: int = 17,
    dtype: str = "float32",
) -> Artifact:
    """A graph from "x", of that dtype and shape `given`, to the floats "y" of shape `made`."""
    source, out = folder / "source", folder / "taken"
    source.mkdir(parents=True)
    out.mkdir()
    inputs, outputs = {"x": (dtype, given)}, {"y": ("float32", made)}
    write_graph(source / "m.onnx", nodes, inputs, outputs, constants, opset=opset)
    return take_directly(source, _DIGEST, {}, out)[0]


def normal_samples(shape: Sequence[int], *, seed: int = 1, count: int = 24) -> Samples:
    """Normal values for "x"."""
    rng = np.random.default_rng(seed)
    return Samples({"x": rng.standard_normal((count, *shape)).astype(np.float32)}, None, "dataset")


def decibels(folder: Path, artifact: Artifact, name: str) -> float:
    """How close "y" of the finished file is to that of the given one on fresh samples, in dB."""
    [given] = artifact.signature.inputs
    made, _ = finish(artifact, name, folder / name, samples=normal_samples(given.shape))
    fresh = normal_samples(given.shape, seed=2)
    got = centred_snr_db(runtime_outputs(artifact, fresh)["y"], runtime_outputs(made, fresh)["y"])
    assert got is not None
    return got
