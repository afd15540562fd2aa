"""The reference: what the source itself computes, in its own framework."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.analysis.agreement import accuracy
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause
from edgeconv.conversion.calls import Report, StepCall
from edgeconv.conversion.evaluation import (
    DEVICE_SAMPLES,
    DEVICE_SAMPLES_FILE,
    LEAST_SAMPLES,
    OUTPUTS_FILE,
    SAMPLES_FILE,
    dataset_samples,
)
from edgeconv.conversion.samples import Samples, write_arrays
from edgeconv.conversion.sources import Source, open_source, signature_of
from edgeconv.conversion.synthetic import run_synthetic
from edgeconv.recipe.specs import ReferenceOptions

METRIC = "accuracy"


def make_reference(call: StepCall, options: ReferenceOptions, report: Report) -> dict[str, Any]:
    """Runs the source over the evaluation data, or at least 16 synthetic samples.

    Writes into `call.folder`: `outputs.npz` (output name → [samples, *shape]),
    `device_samples.npz` (inputs of the first 16 samples), and `samples.npz` (all inputs)
    when they are synthetic.

    Returns:
        samples, origin, reference, metric ("accuracy" when there are labels that fit),
        metric_reference, signature, notes (sentences).

    Raises:
        EdgeconvError: DATASET_INVALID, DATASET_MISMATCH; NOT_APPLICABLE when the shapes of
            the outputs depend on the values of the inputs; RUNTIME_REFUSED.
    """
    source = open_source(call.inputs["source"].folder, options.shapes)
    said: list[str] = []
    if "evaluation" in call.inputs:
        folder = call.inputs["evaluation"].folder
        samples = dataset_samples(folder, source.inputs, options.split)
        outputs = run_all(source, samples, report)
    else:
        samples, outputs, said = run_synthetic(
            source,
            lambda samples: run_all(source, samples, report),
            count=max(options.samples, LEAST_SAMPLES),
            seed=options.seed,
        )
        write_arrays(call.folder / SAMPLES_FILE, samples.inputs)
    write_arrays(call.folder / OUTPUTS_FILE, outputs)
    first = {name: array[:DEVICE_SAMPLES] for name, array in samples.inputs.items()}
    write_arrays(call.folder / DEVICE_SAMPLES_FILE, first)
    signature = signature_of(source, {name: array[0] for name, array in outputs.items()})
    metric, value, notes = measure(outputs, samples)
    return {
        "samples": len(samples),
        "origin": samples.origin,
        "reference": source.describe(),
        "metric": metric,
        "metric_reference": value,
        "signature": signature.model_dump(mode="json"),
        "notes": [*said, *notes],
    }


def run_all(source: Source, samples: Samples, report: Report) -> dict[str, NDArray[Any]]:
    """Outputs of all samples: name → [samples, *shape]."""
    collected: dict[str, list[NDArray[Any]]] = {}
    for index, feeds in enumerate(samples):
        report(index / len(samples), "running the source")
        for name, array in source.run(feeds).items():
            collected.setdefault(name, []).append(np.asarray(array))
    _check_shapes(collected)
    return {name: np.stack(arrays) for name, arrays in collected.items()}


def measure(
    outputs: dict[str, NDArray[Any]], samples: Samples
) -> tuple[str, float | None, list[str]]:
    """The task metric of the first output, where there are labels.

    Returns:
        Its name, its value, and why there is none although there are labels.
    """
    if samples.labels is None:
        return "", None, []
    name, scores = next(iter(outputs.items()))
    try:
        return METRIC, accuracy(scores, samples.labels), []
    except ValueError as error:
        return (
            "",
            None,
            [f"There is no accuracy: output {name!r} against the labels: {clause(str(error))}."],
        )


def _check_shapes(collected: dict[str, list[NDArray[Any]]]) -> None:
    for name, arrays in collected.items():
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            raise EdgeconvError(
                Reason.NOT_APPLICABLE,
                f"The shape of output {name!r} depends on the inputs' values:"
                f" {', '.join(map(str, sorted(shapes)))}.",
                output=name,
            )
