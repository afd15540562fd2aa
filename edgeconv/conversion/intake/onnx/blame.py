"""Tells the importer's faults from a converter's: every tensor against ONNX Runtime.

    python -m edgeconv.conversion.intake.onnx.blame model.onnx --shape x=1,3,48,192

The interpreter runs eagerly, before any export or conversion. The first node whose output
differs is where the importer went wrong; where none differs, look at the lowering.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from edgeconv.conversion.intake.onnx.model import OnnxModel, read_model
from edgeconv.conversion.intake.onnx.program import interpret
from edgeconv.conversion.samples import synthesize
from edgeconv.recipe.signature import TensorSpec
from edgeconv.runtimes.onnxruntime.child import load

FAULT_DB = 60.0


@dataclass(frozen=True)
class TensorAgreement:
    """One tensor of the graph.

    Attributes:
        node: The ONNX node that makes it.
        snr_db: 10·log10(Σ ref² / Σ (ref - got)²); infinite where both are equal.
        max_abs_error: In the tensor's own units.
    """

    node: str
    operator: str
    tensor: str
    snr_db: float
    max_abs_error: float

    @property
    def faulty(self) -> bool:
        """Whether it is further off than rounding explains."""
        return self.snr_db < FAULT_DB


def blame(
    path: Path, shapes: Mapping[str, tuple[int, ...]], *, seed: int = 0, fused: bool = False
) -> list[TensorAgreement]:
    """Every tensor that the interpreter computes, in graph order.

    Args:
        fused: Whether patterns are fused first; a fused pattern shows its last tensor.

    Raises:
        EdgeconvError: as intake, and RUNTIME_REFUSED.
    """
    model = read_model(path)
    made = interpret(model, shapes, fused=fused)
    sample = next(iter(synthesize(made.inputs, count=1, seed=seed)))
    got: dict[str, torch.Tensor] = {}
    feeds = [torch.from_numpy(sample[spec.name]) for spec in made.inputs]
    with torch.no_grad():
        made.interpreter.run(feeds, got.__setitem__)
    want = _run_reference(path, model, made.inputs, sorted(got), sample)
    places = {
        name: step.node for step in made.fusion.plan.steps for name in step.node.outputs if name
    }
    return [
        _compare(places[name].name, places[name].operator, name, want[name], tensor.numpy())
        for name, tensor in got.items()
        if name in want
    ]


def _run_reference(
    path: Path,
    model: OnnxModel,
    inputs: Sequence[TensorSpec],
    names: Sequence[str],
    sample: Mapping[str, NDArray[Any]],
) -> dict[str, NDArray[Any]]:
    """The named tensors in ONNX Runtime, as outputs of a copy of the model."""
    proto = onnx.load(str(path), format="protobuf")
    declared = {value.name for value in proto.graph.output}
    made = {name for node in proto.graph.node for name in node.output}
    for name in names:
        if name not in declared and name in made:
            proto.graph.output.append(onnx.ValueInfoProto(name=name))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "all.onnx"
        onnx.save(proto, str(copy))
        session = load(copy)
        return session.run({spec.name: sample[spec.name] for spec in inputs})


def _compare(
    node: str, operator: str, name: str, want: NDArray[Any], got: NDArray[Any]
) -> TensorAgreement:
    if want.shape != got.shape or want.dtype != got.dtype:
        return TensorAgreement(node, operator, name, -math.inf, math.inf)
    wanted, made = want.astype(np.float64), got.astype(np.float64)
    noise = float(np.sum((wanted - made) ** 2))
    power = float(np.sum(wanted**2))
    snr = math.inf if noise == 0 else 10 * math.log10(max(power, 1e-30) / noise)
    worst = float(np.max(np.abs(wanted - made), initial=0.0))
    return TensorAgreement(node, operator, name, snr, worst)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints every faulty tensor, or the worst one; 1 when there is a fault."""
    parser = argparse.ArgumentParser(prog="python -m edgeconv.conversion.intake.onnx.blame")
    parser.add_argument("model", type=Path)
    parser.add_argument("--shape", action="append", default=[], help="NAME=1,3,224,224")
    given = parser.parse_args(arguments)
    shapes = {}
    for text in given.shape:
        name, _, sizes = text.rpartition("=")
        shapes[name] = tuple(int(size) for size in sizes.split(","))
    found = blame(given.model, shapes)
    faulty = [each for each in found if each.faulty]
    for each in faulty or [min(found, key=lambda one: one.snr_db)]:
        print(
            f"{each.node} ({each.operator}) → {each.tensor}: {each.snr_db:.1f} dB,"
            f" max abs error {each.max_abs_error:.3g}"
        )
    print(f"{len(found)} tensors compared, {len(faulty)} faulty")
    return 1 if faulty else 0


if __name__ == "__main__":
    raise SystemExit(main())
