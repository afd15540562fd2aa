"""Finish: weights in 8 bits, computed in float."""

from __future__ import annotations

from typing import ClassVar

from edgeconv.conversion.program import Artifact, Context
from edgeconv.recipe.specs import Int8WeightsOptions, StepKind, StepSpec, spec_of
from edgeconv.results.effect import Effect


class Int8Weights:
    """Stores weights in 8 bits per channel; the runtime widens them and computes in float."""

    spec: ClassVar[StepSpec] = spec_of(StepKind.FINISH, "int8-weights")

    def apply(
        self, artifact: Artifact, options: Int8WeightsOptions, context: Context
    ) -> tuple[Artifact, Effect]:
        """See `Finish`."""
        context.report(-1.0, "quantizing the weights")
        if artifact.format == "onnx":
            from edgeconv.conversion.finishes.onnx_weights import quantize_weights

            return quantize_weights(self.spec, artifact, options, context)
        from edgeconv.conversion.finishes import tflite_quantize

        return tflite_quantize.quantize_weights(self.spec, artifact, options, context, "weights")
