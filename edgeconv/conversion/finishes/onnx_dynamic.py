"""8-bit weights and activations quantized as they come, by ONNX Runtime's quantizer."""

from __future__ import annotations

from edgeconv.conversion.finishes.onnx_prepare import prepare, split_gemms
from edgeconv.conversion.finishes.onnx_state import (
    check_float,
    composition,
    float_weights,
    write_finished,
)
from edgeconv.conversion.finishes.outcome import finished
from edgeconv.conversion.onnx_file import read_onnx, write_onnx
from edgeconv.conversion.program import Artifact, Context
from edgeconv.recipe.specs import Int8DynamicOptions, StepSpec
from edgeconv.results.effect import Effect

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "RNN", "Gather")
_LEAST_ELEMENTS = 256


def quantize_dynamic(
    spec: StepSpec, artifact: Artifact, options: Int8DynamicOptions, context: Context
) -> tuple[Artifact, Effect]:
    """Per-channel weights; Gemm is written as MatMul and Add, the form that has a kernel."""
    from onnxruntime import quantization

    model, notes = prepare(artifact.path, context.scratch)
    check_float(spec, artifact, model)
    before = composition(model)
    split_gemms(model.graph)
    given = context.scratch / "given"
    given.mkdir()
    made = context.scratch / "dynamic.onnx"
    quantization.quantize_dynamic(
        str(write_onnx(model, given)),
        str(made),
        per_channel=True,
        weight_type=quantization.QuantType.QInt8,
    )
    quantized = read_onnx(made)
    notes += float_weights(quantized, _WEIGHTED, _LEAST_ELEMENTS)
    write_finished(quantized, context.folder)
    return finished(
        spec,
        artifact,
        context.folder,
        options,
        before=before,
        after=composition(quantized),
        notes=notes,
        figures={},
        seed=context.seed,
    )
