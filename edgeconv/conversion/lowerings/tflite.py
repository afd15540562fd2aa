"""Program → TFLite, by litert-torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.lowerings.delegable import split_unit_clamps
from edgeconv.conversion.lowerings.isolated import isolated_module
from edgeconv.conversion.lowerings.pool_borders import copy_pool_borders
from edgeconv.conversion.lowerings.wide import (
    is_wide,
    narrow_notes,
    narrows_itself,
    widen_products,
)
from edgeconv.conversion.program import Artifact, Context, Program
from edgeconv.conversion.tflite_file import (
    operator_counts,
    read_tflite,
    rename_interface,
    write_tflite,
)
from edgeconv.recipe.specs import StepKind, StepSpec, TfliteOptions, spec_of
from edgeconv.results.effect import Effect, Note
from edgeconv.results.lineage import LineageStep

FILE = "model.tflite"


class TfliteLowering:
    """Writes one file with one signature, in the user's names, order, layout and dtypes."""

    spec: ClassVar[StepSpec] = spec_of(StepKind.LOWERING, "tflite")

    def apply(
        self, program: Program, options: TfliteOptions, context: Context
    ) -> tuple[Artifact, Effect]:
        """Writes `model.tflite`; see `Lowering`."""
        context.report(-1.0, "lowering to TFLite")
        wide = is_wide(program.exported, program.signature)
        model = read_tflite(_convert(program, wide=wide))
        notes = _repair(model, program) if wide else []
        split_unit_clamps(model)
        copy_pool_borders(model)
        rename_interface(model, program.signature)
        content = write_tflite(model)
        (context.folder / FILE).write_bytes(content)
        _check_stock(model, context.folder / FILE)
        counts = operator_counts(model)
        effect = Effect(
            step=self.spec.name,
            summary=f"{sum(counts.values())} operators of {len(counts)} kinds",
            changed=sum(counts.values()),
            figures={"size_bytes": len(content)},
            notes=tuple(notes),
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


def _convert(program: Program, *, wide: bool) -> bytes:
    os.environ["LITERT_TORCH_SHOW_PROGRESS"] = "n"
    import litert_torch

    signature = program.signature
    samples = tuple(
        torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype)) for spec in signature.inputs
    )
    module = _Positional(isolated_module(program.exported))
    try:
        converted = litert_torch.convert(module, samples, enable_x64=wide)
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


def _repair(model: Any, program: Program) -> list[Note]:
    notes = []
    if not narrows_itself(program.exported):
        widened = widen_products(model)
        if widened:
            words = f"{widened} products of int64 values were taken back from 32 bits to 64."
            notes.append(Note(kind="widened", subject="MUL", message=words))
    return notes + narrow_notes(model)


def _check_stock(model: Any, path: Path) -> None:
    """Refuses what LiteRT as it is installed everywhere can't run.

    Raises:
        EdgeconvError: LOWERING_FAILED naming the operator, or with LiteRT's own words.
    """
    foreign = [name for name in operator_counts(model) if name.startswith("custom:")]
    if foreign:
        names = ", ".join(name.removeprefix("custom:") for name in foreign)
        raise EdgeconvError(
            Reason.LOWERING_FAILED,
            f"The converter wrote operators that LiteRT does not have: {names}.",
            operators=names,
        )
    from edgeconv.runtimes.litert.child import load

    try:
        load(path).close()
    except EdgeconvError as refusal:
        # The file is our own: nobody can mend it by giving it again.
        said = str(refusal.metadata.get("said", refusal.message))
        raise EdgeconvError(
            Reason.LOWERING_FAILED,
            f"The converter wrote a file that LiteRT refuses: {said}",
            said=said,
        ) from refusal
