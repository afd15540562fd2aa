"""Runs an artifact in its real runtime and compares it with the source, output by output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.analysis.agreement import OutputComparison, comparison_with
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.bounds import judge_metric, judge_output
from edgeconv.conversion.calls import Report, StepCall
from edgeconv.conversion.evaluation import (
    DEVICE_SAMPLES,
    OUTPUTS_FILE,
    absent_notes,
    count_notes,
    dataset_samples,
    stored_samples,
)
from edgeconv.conversion.program import Artifact
from edgeconv.conversion.reference import measure
from edgeconv.conversion.samples import Samples, read_npz, write_arrays
from edgeconv.recipe.signature import Signature, TensorSpec
from edgeconv.recipe.specs import VerifyOptions
from edgeconv.results.agreement import Agreement
from edgeconv.results.effect import Note
from edgeconv.runtimes.session import DYNAMIC, Session

_KEPT_BYTES = 256 * 1024 * 1024
_RUNTIMES = {
    "onnx": "edgeconv.runtimes.onnxruntime.child",
    "tflite": "edgeconv.runtimes.litert.child",
}


def verify(artifact: Artifact, call: StepCall, options: VerifyOptions, report: Report) -> Agreement:
    """The agreement of an artifact with its source; a lost bound is `passed=False`.

    Writes into `call.folder`: `outputs.npz`, what the artifact gives here for the samples
    that devices get: output name → [samples, *shape].

    Raises:
        EdgeconvError: SIGNATURE_CHANGED when the file in its runtime does not show the
            source's signature to the letter; RUNTIME_REFUSED; DATASET_MISMATCH.
    """
    given = call.inputs["reference"]
    source = Signature.model_validate(given.facts["signature"])
    _refuse_changes(artifact, source.differences(artifact.signature))
    session = open_session(artifact)
    _refuse_changes(artifact, _declared_differences(source, session))
    if "evaluation" in call.inputs:
        folder = call.inputs["evaluation"].folder
        samples = dataset_samples(folder, source.inputs, options.split)
    else:
        samples = stored_samples(given.folder, source.inputs)
    expected = read_npz(given.folder / OUTPUTS_FILE)
    _check_counts(samples, expected)
    figures, scores, first = _run(artifact, session, samples, expected, source, report)
    write_arrays(call.folder / OUTPUTS_FILE, first)
    return _agreement(given.facts, session, samples, figures, scores, options)


def open_session(artifact: Artifact) -> Session:
    """The artifact, loaded in its own runtime.

    Raises:
        EdgeconvError: RUNTIME_REFUSED.
    """
    session: Session = import_module(_RUNTIMES[artifact.format]).load(artifact.path)
    return session


def _run(
    artifact: Artifact,
    session: Session,
    samples: Samples,
    expected: Mapping[str, NDArray[Any]],
    source: Signature,
    report: Report,
) -> tuple[dict[str, OutputComparison], NDArray[Any], dict[str, NDArray[Any]]]:
    """Figures of each output, the first output of all samples, and all outputs of the first."""
    figures = {spec.name: comparison_with(expected[spec.name]) for spec in source.outputs}
    name_of_scores = source.outputs[0].name
    scores = []
    kept: list[dict[str, NDArray[Any]]] = []
    room = _KEPT_BYTES
    for index, feeds in enumerate(samples):
        report(index / len(samples), "comparing with the source")
        got = {name: np.asarray(array) for name, array in session.run(feeds).items()}
        if not index:
            _refuse_changes(artifact, _made_differences(source.outputs, got))
        scores.append(got[name_of_scores])
        room -= sum(array.nbytes for array in got.values())
        if len(kept) == index < DEVICE_SAMPLES and room >= 0:
            kept.append(got)
        for name, comparison in figures.items():
            comparison.add(np.asarray(expected[name][index]), got[name])
    first = {name: np.stack([each[name] for each in kept]) for name in figures} if kept else {}
    return figures, np.stack(scores), first


def _agreement(
    facts: Mapping[str, Any],
    session: Session,
    samples: Samples,
    figures: Mapping[str, OutputComparison],
    scores: NDArray[Any],
    options: VerifyOptions,
) -> Agreement:
    outputs, notes = [], [Note(kind="fallback", message=each) for each in facts.get("notes", ())]
    notes += [*count_notes(samples), *absent_notes(samples, "is compared")]
    for place, (name, comparison) in enumerate(figures.items()):
        labelled = not place and bool(facts["metric"])
        judged, flags = judge_output(name, comparison, options, labelled=labelled)
        outputs.append(judged)
        notes += flags
    value = None
    if facts["metric"]:
        _, value, problems = measure({next(iter(figures)): scores}, samples)
        notes += [Note(kind="flagged", message=each) for each in problems]
    kept, flags = judge_metric(facts["metric_reference"], value, options)
    return Agreement(
        outputs=tuple(outputs),
        samples=len(samples),
        samples_origin=samples.origin,
        reference=facts["reference"],
        runtime=session.describe(),
        metric=facts["metric"],
        metric_reference=facts["metric_reference"],
        metric_value=value,
        passed=kept and all(each.passed for each in outputs),
        notes=(*notes, *flags),
    )


def _declared_differences(source: Signature, session: Session) -> list[str]:
    declared = Signature(
        inputs=_closed(session.inputs, source.inputs),
        outputs=_closed(session.outputs, source.outputs),
    )
    return source.differences(declared)


def _closed(declared: Sequence[TensorSpec], wanted: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """What a file declares, its open axes at the size asked for.

    The user's own ONNX graph may leave axes open, or declare no shape at all for an
    output, which reads as rank 0; runs tell the shape there.
    """
    closed = []
    sizes = {spec.name: spec.shape for spec in wanted}
    for spec in declared:
        want = sizes.get(spec.name, spec.shape)
        shape: tuple[int, ...] = spec.shape
        if not shape and len(wanted) == len(declared):
            shape = want
        elif len(shape) == len(want):
            shape = tuple(w if s == DYNAMIC else s for s, w in zip(shape, want, strict=True))
        closed.append(spec.model_copy(update={"shape": shape}))
    return tuple(closed)


def _made_differences(wanted: Sequence[TensorSpec], made: Mapping[str, NDArray[Any]]) -> list[str]:
    got = tuple(
        TensorSpec.model_validate({"name": name, "dtype": array.dtype.name, "shape": array.shape})
        for name, array in made.items()
    )
    return Signature(inputs=(), outputs=tuple(wanted)).differences(
        Signature(inputs=(), outputs=got)
    )


def _check_counts(samples: Samples, expected: Mapping[str, NDArray[Any]]) -> None:
    counts = {name: len(array) for name, array in expected.items()}
    if set(counts.values()) != {len(samples)}:
        raise EdgeconvError(
            Reason.DATASET_MISMATCH,
            f"The reference has {counts} samples, the data at hand {len(samples)}.",
        )


def _refuse_changes(artifact: Artifact, changed: list[str]) -> None:
    if changed:
        raise EdgeconvError(
            Reason.SIGNATURE_CHANGED,
            f"{artifact.file} does not show the source's signature: {'; '.join(changed)}.",
            file=artifact.file,
        )
