"""Finish: weights in 8 bits, activations quantized as they come."""

from __future__ import annotations

from typing import ClassVar

from edgeconv.conversion.program import Artifact, Context
from edgeconv.recipe.specs import Int8DynamicOptions, StepKind, StepSpec, spec_of
from edgeconv.results.effect import Effect


class Int8Dynamic:
    """Computes in 8 bits with ranges taken from each activation when it comes."""

    spec: ClassVar[StepSpec] = spec_of(StepKind.FINISH, "int8-dynamic")

    def apply(
        self, artifact: Artifact, options: Int8DynamicOptions, context: Context
    ) -> tuple[Artifact, Effect]:
        """See `Finish`."""
        context.report(-1.0, "quantizing the weights")
        if artifact.format == "onnx":
            from edgeconv.conversion.finishes.onnx_dynamic import quantize_dynamic

            return quantize_dynamic(self.spec, artifact, options, context)
        from edgeconv.conversion.finishes.tflite_quantize import quantize_weights

        return quantize_weights(self.spec, artifact, options, context, "dynamic")
