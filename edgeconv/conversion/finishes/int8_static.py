"""Finish: weights and activations in 8 bits with ranges from calibration data."""

from __future__ import annotations

from typing import ClassVar

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.program import Artifact, Context
from edgeconv.recipe.specs import Int8StaticOptions, StepKind, StepSpec, spec_of
from edgeconv.results.effect import Effect


class Int8Static:
    """Quantizes weights per channel and activations per tensor; inputs and outputs stay float.

    Both formats get their ranges from one observer, which sees every tensor of the file
    in the file's own runtime.
    """

    spec: ClassVar[StepSpec] = spec_of(StepKind.FINISH, "int8-static")

    def apply(
        self, artifact: Artifact, options: Int8StaticOptions, context: Context
    ) -> tuple[Artifact, Effect]:
        """See `Finish`."""
        samples = context.calibration
        if samples is None or not len(samples):
            raise EdgeconvError(
                Reason.DATA_NEEDED,
                "Static int8 needs calibration data.",
                fix="Give --data FILE.npz with one array per input.",
            )
        if artifact.format == "onnx":
            from edgeconv.conversion.finishes.onnx_static import quantize_static

            return quantize_static(self.spec, artifact, options, context, samples)
        from edgeconv.conversion.finishes import tflite_quantize

        return tflite_quantize.quantize_static(self.spec, artifact, options, context, samples)
