"""8-bit weights and activations quantized as they come, by ONNX Runtime's quantizer."""

from __future__ import annotations

from onnx import ModelProto

from edgeconv.conversion.finishes.onnx_prepare import prepare
from edgeconv.conversion.finishes.onnx_proof import prove_prepared
from edgeconv.conversion.finishes.onnx_quantizable import separate_weights, split_gemms
from edgeconv.conversion.finishes.onnx_state import (
    asking_quantizer,
    check_float,
    composition,
    float_weights,
    write_finished,
)
from edgeconv.conversion.finishes.onnx_weights import quantize_graph
from edgeconv.conversion.finishes.outcome import finished, not_applicable
from edgeconv.conversion.onnx_file import operator_counts, read_onnx, write_onnx
from edgeconv.conversion.program import Artifact, Context
from edgeconv.recipe.specs import Int8DynamicOptions, StepSpec
from edgeconv.results.effect import Effect, Note

_DYNAMIC = ["MatMul", "LSTM", "Attention", "EmbedLayerNormalization", "Gather", "Transpose"]


def quantize_dynamic(
    spec: StepSpec, artifact: Artifact, options: Int8DynamicOptions, context: Context
) -> tuple[Artifact, Effect]:
    """Per-channel weights; Gemm is written as MatMul and Add, the form that has a kernel.

    Convolutions get 8-bit weights and compute in float: the runtime's integer convolution
    with one range for the whole activation is no faster and loses whole networks.

    Raises:
        EdgeconvError: NOT_APPLICABLE when nothing but convolutions could be quantized.
    """
    from onnxruntime import quantization

    model, notes = prepare(artifact.path, context.scratch)
    check_float(spec, artifact, model)
    before = composition(model)
    split_gemms(model.graph)
    separate_weights(model.graph)
    notes += prove_prepared(spec, artifact, model, context)
    given = context.scratch / "given"
    given.mkdir()
    made = context.scratch / "dynamic.onnx"
    with asking_quantizer():
        quantization.quantize_dynamic(
            str(write_onnx(model, given)),
            str(made),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=_DYNAMIC,
        )
    quantized = read_onnx(made)
    widened = quantize_graph(quantized.graph)
    if widened and not _is_dynamic(quantized):
        why = "ONNX Runtime has no fast dynamic form of its operators; take int8-weights"
        raise not_applicable(spec, artifact, why)
    if widened:
        words = f"{widened} weights are in 8 bits but computed in float: no fast dynamic form."
        notes.append(Note(kind="stayed_float", subject="weights", message=words))
    notes += float_weights(quantized)
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


def _is_dynamic(model: ModelProto) -> bool:
    return any("Dynamic" in kind for kind in operator_counts(model))
