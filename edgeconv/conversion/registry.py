"""The implementation of each spec, loaded when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from edgeconv.recipe.specs import StepKind

IMPLEMENTATIONS: dict[tuple[StepKind, str], str] = {
    (StepKind.PASS, "prune"): "edgeconv.conversion.passes.prune:Prune",
    (StepKind.LOWERING, "onnx"): "edgeconv.conversion.lowerings.onnx:OnnxLowering",
    (StepKind.LOWERING, "tflite"): "edgeconv.conversion.lowerings.tflite:TfliteLowering",
    (StepKind.FINISH, "fp16"): "edgeconv.conversion.finishes.fp16:Fp16",
    (StepKind.FINISH, "int8-static"): "edgeconv.conversion.finishes.int8_static:Int8Static",
    (StepKind.FINISH, "int8-dynamic"): "edgeconv.conversion.finishes.int8_dynamic:Int8Dynamic",
    (StepKind.FINISH, "int8-weights"): "edgeconv.conversion.finishes.int8_weights:Int8Weights",
}


def implementation(kind: StepKind, name: str) -> Any:
    """An instance of the pass, lowering or finish of that name.

    Raises:
        KeyError: nothing is registered under it.
    """
    module, _, attribute = IMPLEMENTATIONS[kind, name].partition(":")
    return getattr(import_module(module), attribute)()
