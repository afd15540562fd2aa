"""Holds a graph against the file it was made of: made ready, and quantized and optimized.

A lossy variant has no bound that tells a fault of the preparation from its own loss.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import ModelProto

from edgeconv.analysis.agreement import centred_snr_db
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause
from edgeconv.bench.inputs import TOKENS
from edgeconv.conversion.calls import told
from edgeconv.conversion.exact import PROOF_SAMPLES, Outputs, agreement_db
from edgeconv.conversion.finishes.onnx_session import Level, open_graph
from edgeconv.conversion.onnx_file import write_onnx
from edgeconv.conversion.program import Artifact, Context
from edgeconv.conversion.samples import Samples, synthesize
from edgeconv.recipe.bounds import LOSSY_FLAG_DB
from edgeconv.recipe.specs import StepSpec
from edgeconv.results.effect import Note

_SPOILT_DB = 6.0
"""Kernels that round otherwise differ by less."""
_TOKEN_RANGES = (TOKENS, 8, 2)
"""A small table refuses large synthetic integers."""


def prove_prepared(
    spec: StepSpec, artifact: Artifact, model: ModelProto, context: Context
) -> list[Note]:
    """Runs both on a few samples: of the calibration data, or synthetic ones.

    Returns:
        A note where the given file itself runs with none of the samples.

    Raises:
        EdgeconvError: AGREEMENT_LOST naming the output and its figure; SIGNATURE_CHANGED;
            NOT_APPLICABLE when the runtime does not run the prepared graph.
    """
    refused: Exception | None = None
    for samples in _candidates(artifact, context):
        try:
            expected = _outputs(artifact.path, artifact, samples)
        except Exception as fault:
            # The runtime has several types for values that an operator refuses.
            refused = refused or fault
            continue
        folder = context.scratch / "proof"
        folder.mkdir(parents=True)
        try:
            got = _outputs(write_onnx(model, folder), artifact, samples)
        except Exception as fault:
            # As above.
            raise EdgeconvError(
                Reason.NOT_APPLICABLE,
                f"{spec.name} can't take {artifact.file}: ONNX Runtime does not run the graph made"
                f" ready for it: {clause(told(fault))}.",
                step=spec.name,
            ) from fault
        agreement_db(spec.name, expected, got)
        return []
    assert refused is not None
    words = f"Not compared with the file before: {clause(told(refused))}."
    return [Note(kind="fallback", subject="graph", message=words)]


def optimizer_flags(artifact: Artifact, quantized: Path, samples: Samples) -> list[Note]:
    """A note for each output that the runtime's own optimizer spoils.

    It joins quantized operators to integer kernels, some of which do not look at all that
    the file says. Without it each operator is computed as it stands.
    """
    few = samples.take(range(min(len(samples), PROOF_SAMPLES)))
    expected = _outputs(artifact.path, artifact, few)
    plain, joined = (_outputs(quantized, artifact, few, level) for level in ("none", "all"))
    notes = []
    for name, want in expected.items():
        before, after = (centred_snr_db(want, made[name]) for made in (plain, joined))
        if before is None or after is None or not _spoilt(before, after):
            continue
        words = (
            f"{after:.1f} dB as ONNX Runtime runs it, {before:.1f} dB without its optimizer: its"
            " integer kernels compute something else than the file says."
        )
        notes.append(Note(kind="flagged", subject=name, message=words))
    return notes


def _spoilt(before_db: float, after_db: float) -> bool:
    """Both may be so close that what lies between them is rounding."""
    return after_db < LOSSY_FLAG_DB and before_db - after_db >= _SPOILT_DB


def _candidates(artifact: Artifact, context: Context) -> list[Samples]:
    given = context.calibration
    if given is not None and len(given):
        return [given.take(range(min(len(given), PROOF_SAMPLES)))]
    inputs, seed = artifact.signature.inputs, context.seed
    return [
        synthesize(inputs, count=PROOF_SAMPLES, seed=seed, tokens=tokens)
        for tokens in _TOKEN_RANGES
    ]


def _outputs(path: Path, artifact: Artifact, samples: Samples, level: Level = "basic") -> Outputs:
    session = open_graph(path, level)
    names = [spec.name for spec in artifact.signature.outputs]
    rows = [session.run(names, feeds) for feeds in samples]
    return {name: np.stack([row[place] for row in rows]) for place, name in enumerate(names)}
