"""8-bit weights and activations in an ONNX graph, by ONNX Runtime's quantizer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from edgeconv.conversion.finishes.observe import onnx_tensors
from edgeconv.conversion.finishes.onnx_clips import clips_beside_zero
from edgeconv.conversion.finishes.onnx_hard_swish import join_hard_swishes
from edgeconv.conversion.finishes.onnx_prepare import prepare
from edgeconv.conversion.finishes.onnx_proof import optimizer_flags, prove_prepared
from edgeconv.conversion.finishes.onnx_quantizable import write_quantizable
from edgeconv.conversion.finishes.onnx_session import open_graph
from edgeconv.conversion.finishes.onnx_state import (
    asking_quantizer,
    check_float,
    composition,
    float_weights,
    write_finished,
)
from edgeconv.conversion.finishes.outcome import finished
from edgeconv.conversion.finishes.ranges import Range, observe
from edgeconv.conversion.finishes.scores import onnx_scores
from edgeconv.conversion.onnx_file import ONNX_FILE, operator_counts, read_onnx, write_onnx
from edgeconv.conversion.program import Artifact, Context
from edgeconv.conversion.samples import Samples
from edgeconv.recipe.specs import Int8StaticOptions, StepSpec
from edgeconv.results.effect import Effect, Note

_HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Relu and Clip vanish before a QuantizeLinear whose range does their work, which holds zero;
# a Clip beside zero is left out. The others move values without computing.
_CARRIED = (
    "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Reshape", "Transpose",
    "Squeeze", "Unsqueeze", "Flatten", "Slice", "Split", "Concat", "Pad", "Resize", "Gather",
)  # fmt: skip
_POOLS = ("AveragePool", "GlobalAveragePool")
_ARITHMETIC = ("Add", "Mul", "LeakyRelu", "Sigmoid", "Where", "LayerNormalization")
_DEAR = 1.25
"""How many times the conversions between float and integer are worth the arithmetic."""
_INTEGER = {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat"}
_BOUNDARY = {"QuantizeLinear", "DequantizeLinear"}


@dataclass(frozen=True)
class _Attempt:
    """A quantization of some kinds of operators.

    Attributes:
        left: Kinds of it left in float.
        depthwise: How many depthwise convolutions were left in float.
        integer: Heavy operators that the runtime computes in integers.
        boundaries: Conversions between float and integer that the runtime is left with.
    """

    left: tuple[str, ...]
    depthwise: int
    model: ModelProto
    integer: int
    boundaries: int


def quantize_static(
    spec: StepSpec,
    artifact: Artifact,
    options: Int8StaticOptions,
    context: Context,
    samples: Samples,
) -> tuple[Artifact, Effect]:
    """8-bit weights per channel and activations, float inputs and outputs.

    What the runtime computes in integers in the end is counted in the graph it makes of
    the file. Arithmetic between the heavy operators stays in float, which loses less,
    unless heavy operators fall back to float with it or conversions between float and
    integer become many more. Depthwise convolutions stay in float too where that saves
    conversions: in 8 bits they are no faster.
    """
    prepared, notes = prepare(artifact.path, context.scratch)
    check_float(spec, artifact, prepared)
    joined = join_hard_swishes(prepared.graph)
    if joined:
        words = f"{joined} of them were written out as Add, Clip, Mul and Div, and were joined."
        notes.append(Note(kind="info", subject="HardSwish", message=words))
    write_quantizable(prepared.graph)
    notes += prove_prepared(spec, artifact, prepared, context)
    context.report(-1.0, "observing ranges")
    watched = context.scratch / "watched"
    ranges = observe(
        lambda: onnx_tensors(prepared, samples, watched), options, onnx_scores(prepared)
    )
    context.report(-1.0, "quantizing")
    counts = operator_counts(prepared)
    best = _best(prepared, ranges, context.scratch)
    write_finished(best.model, context.folder)
    heavy = sum(counts.get(kind, 0) for kind in _HEAVY)
    notes += _notes(best, heavy)
    notes += optimizer_flags(artifact, context.folder / ONNX_FILE, samples)
    return finished(
        spec,
        artifact,
        context.folder,
        options,
        before=composition(prepared),
        after=composition(best.model),
        notes=notes,
        figures={
            "heavy_operators": heavy,
            "heavy_integer_operators": best.integer,
            "float_integer_conversions": best.boundaries,
        },
        seed=context.seed,
    )


def _best(prepared: ModelProto, ranges: Mapping[str, Range], scratch: Path) -> _Attempt:
    counts = operator_counts(prepared)
    best = _attempt(prepared, ranges, (), scratch / "all")
    arithmetic = tuple(kind for kind in _ARITHMETIC if kind in counts)
    if arithmetic:
        light = _attempt(prepared, ranges, arithmetic, scratch / "light")
        dear = light.boundaries > _DEAR * best.boundaries
        best = best if dear or light.integer < best.integer else light
    depthwise = _depthwise(prepared)
    if depthwise:
        left = (*arithmetic, *(kind for kind in _POOLS if kind in counts))
        mixed = _attempt(prepared, ranges, left, scratch / "mixed", depthwise)
        others = best.integer - len(depthwise)
        best = mixed if mixed.boundaries < best.boundaries and mixed.integer >= others else best
    return best


def _depthwise(model: ModelProto) -> list[str]:
    """Names of convolutions with one input channel for each group."""
    widths = {t.name: t.dims[1] for t in model.graph.initializer if len(t.dims) > 2}
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv"
        and widths.get(node.input[1]) == 1
        and any(each.name == "group" and each.i > 1 for each in node.attribute)
    ]


def _attempt(
    prepared: ModelProto,
    ranges: Mapping[str, Range],
    left: tuple[str, ...],
    scratch: Path,
    excluded: Sequence[str] = (),
) -> _Attempt:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

    scratch.mkdir()
    data = {
        name: (np.array(each.low, np.float32), np.array(each.high, np.float32))
        for name, each in ranges.items()
    }
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), scratch / "ranges.json")
    kinds = [kind for kind in (*_HEAVY, *_CARRIED, *_ARITHMETIC) if kind not in left]
    with _quiet(), asking_quantizer():
        quantize_static(
            str(write_onnx(prepared, scratch)),
            str(scratch / "quantized.onnx"),
            None,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=kinds,
            nodes_to_exclude=[*excluded, *clips_beside_zero(prepared.graph)],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibration_cache_path=scratch / "ranges.json",
        )
    model = read_onnx(scratch / "quantized.onnx")
    counts = _optimized_counts(scratch)
    return _Attempt(
        left,
        len(excluded),
        model,
        integer=sum(n for kind, n in counts.items() if kind.rpartition(".")[2] in _INTEGER),
        boundaries=sum(counts.get(kind, 0) for kind in _BOUNDARY),
    )


def _optimized_counts(scratch: Path) -> dict[str, int]:
    """Operators of the graph that the runtime makes of the file when it loads it."""
    open_graph(scratch / "quantized.onnx", "all", written=scratch / "optimized.onnx")
    return operator_counts(read_onnx(scratch / "optimized.onnx"))


def _notes(best: _Attempt, heavy: int) -> list[Note]:
    notes = float_weights(best.model)
    kept = len(clips_beside_zero(best.model.graph))
    if kept:
        words = f"{kept} of them stay: no range leaves out zero as they do."
        notes.append(Note(kind="stayed_float", subject="Clip", message=words))
    if best.left:
        words = "Left in float, which loses less and converts hardly more often."
        notes.append(Note(kind="stayed_float", subject=", ".join(best.left), message=words))
    if best.depthwise:
        words = f"The depthwise ones, {best.depthwise}, are in float, which saves conversions."
        notes.append(Note(kind="stayed_float", subject="Conv", message=words))
    if best.integer < heavy:
        words = f"ONNX Runtime computes {heavy - best.integer} of {heavy} of them in float."
        notes.append(Note(kind="stayed_float", subject="/".join(_HEAVY), message=words))
    return notes


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer advises on the root logger to do what has been done."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
