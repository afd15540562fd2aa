"""Finish: weights in half precision."""

from __future__ import annotations

from typing import ClassVar

from edgeconv.conversion.program import Artifact, Context
from edgeconv.recipe.specs import Fp16Options, StepKind, StepSpec, spec_of
from edgeconv.results.effect import Effect


class Fp16:
    """Halves the weights; inputs and outputs keep their dtypes.

    ONNX graphs compute in half precision too; LiteRT widens the weights and computes in
    single precision where the processor has no half.
    """

    spec: ClassVar[StepSpec] = spec_of(StepKind.FINISH, "fp16")

    def apply(
        self, artifact: Artifact, options: Fp16Options, context: Context
    ) -> tuple[Artifact, Effect]:
        """See `Finish`."""
        context.report(-1.0, "halving the weights")
        if artifact.format == "onnx":
            from edgeconv.conversion.finishes.onnx_half import halve

            return halve(self.spec, artifact, options, context)
        from edgeconv.conversion.finishes.tflite_quantize import quantize_weights

        return quantize_weights(self.spec, artifact, options, context, "fp16")
