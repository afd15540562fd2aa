"""The direct road: the user's own ONNX graph, as it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
from onnx import ModelProto
from onnx.external_data_helper import ExternalDataInfo

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake.formats import recognise
from edgeconv.conversion.intake.onnx.external_data import check_external_data, external_tensors
from edgeconv.conversion.onnx_file import (
    ONNX_FILE,
    has_traces,
    operator_counts,
    opset_of,
    strip_traces,
)
from edgeconv.conversion.program import Artifact
from edgeconv.conversion.sources import OnnxSource, signature_of
from edgeconv.conversion.synthetic import run_synthetic
from edgeconv.recipe.specs import StepKind, spec_of
from edgeconv.results.effect import Effect, Note
from edgeconv.results.lineage import Lineage, LineageStep


def take_directly(
    folder: Path, source_digest: str, shapes: Mapping[str, Sequence[int]], out_folder: Path
) -> tuple[Artifact, Effect]:
    """Copies the model's files; its graph is called `model.onnx`.

    The bytes stay as they are, except that what tells of the source's code is removed: stack
    traces and doc strings of the graph, and entries of the model's own metadata that hold
    paths. A note says so. Weights beside the graph keep the name under which
    the graph refers to them. The signature is the static one at `shapes`; the graph's own
    axes stay open where they are.

    Raises:
        EdgeconvError: MODEL_UNREADABLE, MODEL_UNSAFE, RUNTIME_REFUSED.
    """
    source = recognise(folder).path
    try:
        model = onnx.load(str(source), format="protobuf", load_external_data=False)
    except Exception as fault:
        # protobuf's own type stands in a compiled module.
        raise EdgeconvError(
            Reason.MODEL_UNREADABLE, f"{source.name!r} is no ONNX model: {fault}", file=source.name
        ) from fault
    notes = _copy(model, source, out_folder)
    runner = OnnxSource(out_folder / ONNX_FILE, shapes)
    _, made, _ = run_synthetic(runner, lambda few: runner.run(next(iter(few))), count=1, seed=0)
    signature = signature_of(runner, made)
    counts = operator_counts(model)
    effect = Effect(
        step="direct",
        summary=f"the user's own graph: {sum(counts.values())} operators, opset {opset_of(model)}",
        changed=max(sum(counts.values()), 1),
        figures={"size_bytes": sum(file.stat().st_size for file in out_folder.iterdir())},
        notes=notes,
    )
    spec = spec_of(StepKind.DIRECT, "direct")
    step = LineageStep(
        kind=spec.kind,
        name=spec.name,
        revision=spec.revision,
        options={"shapes": {name: list(shape) for name, shape in shapes.items()}},
        effect=effect,
    )
    lineage = Lineage(source=source_digest).then(step)
    return Artifact("onnx", out_folder, ONNX_FILE, signature, lineage), effect


def _copy(model: ModelProto, source: Path, out_folder: Path) -> tuple[Note, ...]:
    check_external_data(model, source.parent)
    for name in sorted(set(_weights_beside(model))):
        if name == ONNX_FILE:
            raise EdgeconvError(
                Reason.NOT_APPLICABLE,
                f"The graph keeps weights in {name!r}, the name its own file has here.",
                fix="Save the weights under another name.",
                file=name,
            )
        shutil.copyfile(source.parent / name, out_folder / name)
    if has_traces(model):
        gone = strip_traces(model)
        content = model.SerializeToString(deterministic=True)
        (out_folder / ONNX_FILE).write_bytes(content)
        words = "Stack traces, doc strings and metadata were removed from the graph's nodes."
        if gone:
            words += f" Of the model's own metadata {', '.join(gone)} went: it held paths."
        return (Note(kind="dropped", subject="metadata", message=words),)
    shutil.copyfile(source, out_folder / ONNX_FILE)
    return ()


def _weights_beside(model: ModelProto) -> Iterator[str]:
    for tensor in external_tensors(model):
        yield ExternalDataInfo(tensor).location
