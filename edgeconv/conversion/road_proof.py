"""Holds what a step made against what it was made of, before anything is built on it.

A lossy variant has no bound that tells a converter's fault from its own loss. So the road
to it is proven in full precision: a Program computes what its source does, and a lowered
file what its Program does. The samples are the first that the source itself ran on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeconv.analysis.agreement import compare
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.bounds import judge_output
from edgeconv.conversion.calls import StepInput
from edgeconv.conversion.evaluation import DEVICE_SAMPLES_FILE, OUTPUTS_FILE
from edgeconv.conversion.program import Artifact, Program
from edgeconv.conversion.samples import read_npz
from edgeconv.conversion.verify import open_session
from edgeconv.recipe.bounds import FP16_FLAG_DB
from edgeconv.recipe.signature import Signature
from edgeconv.recipe.specs import VerifyOptions
from edgeconv.results.agreement import OutputAgreement
from edgeconv.results.effect import Effect

PROOF_SAMPLES = 4
AGREEMENT_FIGURE = "agreement_db"

Outputs = Mapping[str, NDArray[Any]]
"""Output name → [samples, *shape]."""


def source_outputs(reference: StepInput) -> Outputs:
    """What the source computes for the first samples."""
    made = read_npz(reference.folder / OUTPUTS_FILE)
    return {name: array[:PROOF_SAMPLES] for name, array in made.items()}


def program_outputs(program: Program, reference: StepInput) -> Outputs:
    """What a Program computes in torch for the first samples."""
    module = program.exported.module(check_guards=False)
    rows = []
    for feeds in _feeds(program.signature, reference):
        given = [torch.from_numpy(feeds[spec.name].copy()) for spec in program.signature.inputs]
        with torch.no_grad():
            rows.append([each.contiguous().numpy() for each in module(*given)])
    return {
        spec.name: np.stack([row[place] for row in rows])
        for place, spec in enumerate(program.signature.outputs)
    }


def artifact_outputs(artifact: Artifact, reference: StepInput) -> Outputs:
    """What an artifact computes in its runtime for the first samples.

    Raises:
        EdgeconvError: RUNTIME_REFUSED.
    """
    session = open_session(artifact)
    try:
        rows = [session.run(feeds) for feeds in _feeds(artifact.signature, reference)]
    finally:
        session.close()
    return {
        spec.name: np.stack([np.asarray(row[spec.name]) for row in rows])
        for spec in artifact.signature.outputs
    }


def proven(step: str, effect: Effect, expected: Outputs, got: Outputs) -> Effect:
    """The effect with `agreement_db`, the lowest of all outputs.

    Outputs in half precision are held to what half precision can do.

    Raises:
        EdgeconvError: AGREEMENT_LOST naming the output, its figure and the bound;
            SIGNATURE_CHANGED when an output is missing or has another shape.
    """
    lowest = []
    for name, want in expected.items():
        made = got.get(name)
        if made is None or made.shape != want.shape:
            shape = "missing" if made is None else f"{list(made.shape[1:])}"
            raise EdgeconvError(
                Reason.SIGNATURE_CHANGED,
                f"Step {step!r} changed output {name!r}: {list(want.shape[1:])} is {shape}.",
                step=step,
            )
        agreement, notes = judge_output(name, compare(want, made), _bound_for(want))
        if not agreement.passed:
            raise _lost(step, agreement, [note.message for note in notes])
        if (figure := agreement.closeness_db()) is not None:
            lowest.append(figure)
    if not lowest:
        return effect
    return effect.model_copy(
        update={"figures": {**effect.figures, AGREEMENT_FIGURE: round(min(lowest), 1)}}
    )


def _feeds(signature: Signature, reference: StepInput) -> list[dict[str, NDArray[Any]]]:
    arrays = read_npz(reference.folder / DEVICE_SAMPLES_FILE)
    names = [spec.name for spec in signature.inputs]
    count = min((len(arrays[name]) for name in names), default=0)
    return [
        {name: arrays[name][place] for name in names} for place in range(min(count, PROOF_SAMPLES))
    ]


def _bound_for(reference: NDArray[Any]) -> VerifyOptions:
    if reference.dtype.itemsize < 4 and reference.dtype.kind not in "iub":
        return VerifyOptions(precision="fp16", min_snr_db=FP16_FLAG_DB)
    return VerifyOptions(precision="fp32")


def _lost(step: str, agreement: OutputAgreement, words: list[str]) -> EdgeconvError:
    if agreement.snr_db is not None:
        figure = f"{agreement.snr_db:.1f} dB"
    elif agreement.max_abs_error is not None:
        figure = f"an error of {agreement.max_abs_error:.3g}"
    else:
        figure = f"{agreement.equal_share or 0:.1%} equal"
    said = " ".join(["", *words])
    return EdgeconvError(
        Reason.AGREEMENT_LOST,
        f"Step {step!r} does not compute what it was given, in full precision: output"
        f" {agreement.output!r} has {figure}, and {agreement.bound} is asked for.{said}",
        fix="This is a fault of the conversion, not of the model: please report it.",
        step=step,
        output=agreement.output,
    )
