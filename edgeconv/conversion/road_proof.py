"""Holds what a step made against what it was made of, before anything is built on it.

A lossy variant has no bound that tells a converter's fault from its own loss. So the road
to it is proven in full precision: a Program computes what its source does, and a lowered
file what its Program does. The samples are the first that the source itself ran on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeconv.conversion.calls import StepInput
from edgeconv.conversion.evaluation import DEVICE_SAMPLES_FILE, OUTPUTS_FILE
from edgeconv.conversion.exact import PROOF_SAMPLES, Outputs, agreement_db
from edgeconv.conversion.program import Artifact, Program
from edgeconv.conversion.samples import read_npz
from edgeconv.conversion.verify import open_session
from edgeconv.recipe.signature import Signature
from edgeconv.results.effect import Effect

AGREEMENT_FIGURE = "agreement_db"


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

    Raises:
        EdgeconvError: as `exact.agreement_db`.
    """
    lowest = agreement_db(step, expected, got)
    if lowest is None:
        return effect
    return effect.model_copy(
        update={"figures": {**effect.figures, AGREEMENT_FIGURE: round(lowest, 1)}}
    )


def _feeds(signature: Signature, reference: StepInput) -> list[dict[str, NDArray[Any]]]:
    arrays = read_npz(reference.folder / DEVICE_SAMPLES_FILE)
    names = [spec.name for spec in signature.inputs]
    count = min((len(arrays[name]) for name in names), default=0)
    return [
        {name: arrays[name][place] for name in names} for place in range(min(count, PROOF_SAMPLES))
    ]
