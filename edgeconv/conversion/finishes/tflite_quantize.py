"""TFLite files through ai-edge-quantizer."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edgeconv.conversion.finishes.observe import tflite_tensors
from edgeconv.conversion.finishes.outcome import finished, not_applicable
from edgeconv.conversion.finishes.ranges import Range, observe
from edgeconv.conversion.finishes.scores import tflite_scores
from edgeconv.conversion.program import Artifact, Context
from edgeconv.conversion.samples import Samples
from edgeconv.conversion.tflite_file import (
    is_constant,
    operator_counts,
    operator_name,
    read_tflite,
    rename_interface,
    restore_float_interface,
    tensor_type,
    text,
    write_tflite,
)
from edgeconv.recipe.signature import Signature
from edgeconv.recipe.specs import Int8StaticOptions, Options, StepSpec
from edgeconv.results.effect import Effect, Note

Mode = Literal["fp16", "dynamic", "weights"]
_QUANTIZED = {"float16", "int8", "uint8", "int16", "int4", "int2"}
_COMPUTE = (
    "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED", "BATCH_MATMUL",
    "EMBEDDING_LOOKUP",
)  # fmt: skip
_HEAVY = {
    "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL",
    "EMBEDDING_LOOKUP", "GATHER", "CONV_3D",
}  # fmt: skip

_LARGEST_CONSTANT = 1e12
"""The runtime rescales a product by a factor of at most 2^30."""


@dataclass(frozen=True)
class _Attempt:
    """A static quantization of some kinds of operators."""

    left_float: tuple[str, ...]
    content: bytes
    parts: int


def quantize_weights(
    spec: StepSpec, artifact: Artifact, options: Options, context: Context, mode: Mode
) -> tuple[Artifact, Effect]:
    """Half-precision weights, 8-bit weights, or 8-bit weights with dynamic activations."""
    content = artifact.path.read_bytes()
    _check_float(spec, artifact, content)
    recipe = _recipe()
    everything = _names().ALL_SUPPORTED
    if mode == "fp16":
        recipe.add_weight_only_config(".*", everything, 16, algorithm_key="float_casting")
    elif mode == "weights":
        recipe.add_weight_only_config(".*", everything, 8)
    else:
        recipe.add_dynamic_config(".*", everything, 8)
    made = _quantize(content, recipe.get_quantization_recipe(), None)
    return _finish(spec, artifact, options, context, content, made, [])


def quantize_static(
    spec: StepSpec,
    artifact: Artifact,
    options: Int8StaticOptions,
    context: Context,
    samples: Samples,
) -> tuple[Artifact, Effect]:
    """8-bit weights per channel and activations, float inputs and outputs.

    Operator kinds that the delegate does not take in 8 bits split the graph: they are left
    in float one after another as long as that joins parts.
    """
    content = artifact.path.read_bytes()
    _check_float(spec, artifact, content)
    context.report(-1.0, "observing ranges")
    scores = tflite_scores(read_tflite(content))
    ranges = observe(lambda: tflite_tensors(content, samples), options, scores)
    context.report(-1.0, "quantizing")
    attempts = _attempts(content, ranges, artifact.signature)
    best = attempts[-1]
    notes = []
    too_large = set(attempts[0].left_float)
    if too_large:
        words = "Left in float: a constant that they read is too large for 8 bits."
        subject = ", ".join(sorted(too_large))
        notes.append(Note(kind="stayed_float", subject=subject, message=words))
    if len(attempts) > 1:
        words = f"{attempts[0].parts} delegate parts, so in {best.parts}"
        words = f"Left in float, since in 8 bits too the graph runs in {words}."
        subject = ", ".join(kind for kind in best.left_float if kind not in too_large)
        notes.append(Note(kind="stayed_float", subject=subject, message=words))
    if best.parts != 1:
        words = f"The delegate takes the graph in {best.parts} parts."
        notes.append(Note(kind="not_delegated", subject="XNNPACK", message=words))
    notes += _float_notes(best.content, set(best.left_float))
    return _finish(spec, artifact, options, context, content, best.content, notes)


def _attempts(content: bytes, ranges: Mapping[str, Range], signature: Signature) -> list[_Attempt]:
    """Leaves kinds in float as long as that joins parts of the graph; the last one is best.

    Where single kinds don't get it as far as the float file, all light ones are left at once.
    """
    whole = _delegate_parts(content)
    model = read_tflite(content)
    attempts = [_attempt(content, ranges, signature, _beyond_8_bits(model))]
    counts = operator_counts(model)
    light = [kind for kind in counts if kind in _kinds() and kind not in _COMPUTE]
    # Most often it is this one; then by how many there are.
    light.sort(key=lambda kind: (kind != "HARD_SWISH", -counts[kind], kind))
    steps = [(kind,) for kind in light] + [tuple(light)]
    for kinds in steps:
        best = attempts[-1]
        if best.parts <= whole:
            break
        left = tuple(dict.fromkeys((*best.left_float, *kinds)))
        tried = _attempt(content, ranges, signature, left)
        if tried.parts < best.parts:
            attempts.append(tried)
    return attempts


def _beyond_8_bits(model: Any) -> tuple[str, ...]:
    """Kinds that read a constant too large for the integer arithmetic: masks of -3.4e38."""
    found = set()
    for graph in model.subgraphs:
        for operator in graph.operators:
            for index in operator.inputs:
                tensor = graph.tensors[index]
                if index >= 0 and tensor_type(tensor) == "float32" and is_constant(model, tensor):
                    values = np.abs(np.asarray(model.buffers[tensor.buffer].data).view(np.float32))
                    if (values > _LARGEST_CONSTANT).any():
                        found.add(operator_name(model, operator))
    return tuple(sorted(found & _kinds()))


def _attempt(
    content: bytes,
    ranges: Mapping[str, Range],
    signature: Signature,
    left_float: Sequence[str],
) -> _Attempt:
    names = _names()
    recipe = _recipe()
    recipe.add_static_config(".*", names.ALL_SUPPORTED, 8, 8)
    for kind in ("INPUT", "OUTPUT", *left_float):
        recipe.add_quantization_config(".*", names[kind], None, "no_quantize")
    # It has no static form; without this the table would stay float silently.
    recipe.add_dynamic_config(".*", names.EMBEDDING_LOOKUP, 8)
    made = _quantize(content, recipe.get_quantization_recipe(), _statistics(content, ranges))
    model = read_tflite(made)
    if restore_float_interface(model, signature):
        made = write_tflite(model)
    return _Attempt(tuple(left_float), made, _delegate_parts(made))


def _statistics(content: bytes, ranges: Mapping[str, Range]) -> dict[str, dict[str, Any]]:
    """Ranges in the quantizer's form, of what is computed only.

    From a constant's range it would make one scale for all channels of a weight.
    """
    statistics: dict[str, dict[str, Any]] = {}
    model = read_tflite(content)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            name = text(tensor.name)
            if name in ranges and not is_constant(model, tensor):
                shape = (1,) * len(tensor.shape if tensor.shape is not None else ())
                statistics[name] = {
                    "min": np.full(shape, ranges[name].low, np.float32),
                    "max": np.full(shape, ranges[name].high, np.float32),
                }
    return statistics


def _quantize(
    content: bytes, recipe: list[dict[str, Any]], statistics: dict[str, dict[str, Any]] | None
) -> bytes:
    from ai_edge_quantizer.quantizer import Quantizer

    # The quantizer prints its progress.
    with contextlib.redirect_stdout(io.StringIO()):
        quantizer = Quantizer(bytearray(content), recipe)
        result = quantizer.quantize(
            statistics, enable_progress_bar=False, enable_progress_report=False
        )
    return bytes(result.quantized_model)


def _finish(
    spec: StepSpec,
    artifact: Artifact,
    options: Options,
    context: Context,
    before: bytes,
    after: bytes,
    notes: list[Note],
) -> tuple[Artifact, Effect]:
    model = read_tflite(after)
    rename_interface(model, artifact.signature)
    (context.folder / artifact.file).write_bytes(write_tflite(model, shared=True))
    return finished(
        spec,
        artifact,
        context.folder,
        options,
        before=_composition(read_tflite(before)),
        after=_composition(model),
        notes=notes,
        figures={"delegate_parts": _delegate_parts(after)},
        seed=context.seed,
    )


def _composition(model: Any) -> dict[str, int]:
    counts = Counter(operator_counts(model))
    for graph in model.subgraphs:
        counts.update(f"tensor of {tensor_type(tensor)}" for tensor in graph.tensors)
    return dict(counts)


def _float_notes(content: bytes, said: set[str]) -> list[Note]:
    """Heavy operators whose weights or inputs are still float."""
    model = read_tflite(content)
    left: Counter[str] = Counter()
    for graph in model.subgraphs:
        for operator in graph.operators:
            kind = operator_name(model, operator)
            if kind in _HEAVY and kind not in said:
                first = [graph.tensors[i] for i in operator.inputs[:2] if i >= 0]
                left[kind] += any(tensor_type(tensor) == "float32" for tensor in first)
    return [
        Note(kind="stayed_float", subject=kind, message=f"{count} of them compute in float.")
        for kind, count in sorted(left.items())
        if count
    ]


def _check_float(spec: StepSpec, artifact: Artifact, content: bytes) -> None:
    """Refuses files that are quantized: quantizers return them unchanged, or broken."""
    model = read_tflite(content)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            kind = tensor_type(tensor)
            if kind in _QUANTIZED and is_constant(model, tensor) and kind != "uint8":
                why = f"its constant {text(tensor.name)!r} is {kind} already"
                raise not_applicable(spec, artifact, why)


def _delegate_parts(content: bytes) -> int:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    return [each["op_name"] for each in interpreter._get_ops_details()].count("DELEGATE")


def _recipe() -> Any:
    from ai_edge_quantizer.recipe_manager import RecipeManager

    return RecipeManager()


def _kinds() -> set[str]:
    return {str(kind.value) for kind in _names()}


def _names() -> Any:
    from ai_edge_quantizer.qtyping import TFLOperationName

    return TFLOperationName
