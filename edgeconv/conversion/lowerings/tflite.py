"""Program → TFLite, by litert-torch."""

from __future__ import annotations

import os
from typing import ClassVar

import torch
from torch import nn

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.lowerings.isolated import isolated_module
from edgeconv.conversion.program import Artifact, Context, Program
from edgeconv.conversion.tflite_file import (
    operator_counts,
    read_tflite,
    rename_interface,
    write_tflite,
)
from edgeconv.recipe.signature import Signature
from edgeconv.recipe.specs import StepKind, StepSpec, TfliteOptions, spec_of
from edgeconv.results.effect import Effect
from edgeconv.results.lineage import LineageStep

FILE = "model.tflite"
_WIDE = ("int64", "float64")


class TfliteLowering:
    """Writes one file with one signature, in the user's names, order, layout and dtypes."""

    spec: ClassVar[StepSpec] = spec_of(StepKind.LOWERING, "tflite")

    def apply(
        self, program: Program, options: TfliteOptions, context: Context
    ) -> tuple[Artifact, Effect]:
        """Writes `model.tflite`; see `Lowering`."""
        context.report(-1.0, "lowering to TFLite")
        model = read_tflite(_convert(program))
        rename_interface(model, program.signature)
        content = write_tflite(model)
        (context.folder / FILE).write_bytes(content)
        counts = operator_counts(model)
        effect = Effect(
            step=self.spec.name,
            summary=f"{sum(counts.values())} operators of {len(counts)} kinds",
            changed=sum(counts.values()),
            figures={"size_bytes": len(content)},
        )
        step = LineageStep(
            kind=self.spec.kind, name=self.spec.name, revision=self.spec.revision, effect=effect
        )
        artifact = Artifact(
            "tflite", context.folder, FILE, program.signature, program.lineage.then(step)
        )
        return artifact, effect


class _Positional(nn.Module):
    """Takes inputs by position and gives a tuple, which the converter names by position."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        # train(False) is refused by exported modules; the flag alone stops a warning.
        self.training = False

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.inner(*inputs))


def _convert(program: Program) -> bytes:
    os.environ["LITERT_TORCH_SHOW_PROGRESS"] = "n"
    import litert_torch

    signature = program.signature
    samples = tuple(
        torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in signature.inputs
    )
    module = _Positional(isolated_module(program.exported))
    try:
        converted = litert_torch.convert(module, samples, enable_x64=_is_wide(signature))
        content: bytes = converted.model_content()
    except Exception as fault:
        # The converter raises whatever its parts raise; the first line names the operator.
        words = next(iter(str(fault).strip().splitlines()), type(fault).__name__)
        raise EdgeconvError(
            Reason.LOWERING_FAILED,
            f"litert-torch refused the program: {words[:500]}",
            said=words[:500],
        ) from fault
    return content


def _is_wide(signature: Signature) -> bool:
    return any(spec.dtype in _WIDE for spec in (*signature.inputs, *signature.outputs))
