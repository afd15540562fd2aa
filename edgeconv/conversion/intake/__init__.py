"""Intake: a model's files become an inspection, and a Program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause
from edgeconv.conversion.intake.formats import recognise
from edgeconv.conversion.intake.sizes import MOST_AXES
from edgeconv.conversion.program import Program
from edgeconv.recipe.inspection import Inspection
from edgeconv.results.effect import Effect

Report = Callable[[float, str], None]

LONGEST_NAME = 1000
"""Characters of the name of an input, an output or an axis."""
MOST_TENSORS = 4000
"""Inputs and outputs of a model."""


def inspect_source(folder: Path) -> Inspection:
    """What the model in a folder declares: interface, weights, operators, notes.

    Raises:
        EdgeconvError: MODEL_UNREADABLE for files that are not one whole model;
            MODEL_UNSAFE for what could run code or lies outside the folder;
            OPERATOR_UNSUPPORTED naming the node and its operator.
    """
    source = recognise(folder)
    if source.format == "onnx":
        from edgeconv.conversion.intake.onnx.inspection import inspect_onnx

        return _with_fair_names(inspect_onnx(source.path), source.path.name)
    from edgeconv.conversion.intake.pt2.inspection import inspect_pt2

    return _with_fair_names(inspect_pt2(source.path), source.path.name)


def _with_fair_names(inspection: Inspection, file: str) -> Inspection:
    """The inspection, unless its names could not be kept, sent or shown."""
    tensors = (*inspection.inputs, *inspection.outputs)
    if len(tensors) > MOST_TENSORS:
        why = f"it has {len(tensors)} inputs and outputs, more than {MOST_TENSORS}"
        raise _bad_names(file, why)
    for tensor in tensors:
        for name in (tensor.name, *(axis for axis in tensor.shape if isinstance(axis, str))):
            if len(name) > LONGEST_NAME:
                why = f"it has a name of {len(name)} characters, {name[:40]!r}…"
                raise _bad_names(file, why)
            if "\0" in name:
                raise _bad_names(file, f"it has a name with a null character, {name[:40]!r}")
        if len(tensor.shape) > MOST_AXES:
            raise _bad_names(file, f"{tensor.name!r} has {len(tensor.shape)} axes")
    return inspection


def _bad_names(file: str, why: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.MODEL_UNREADABLE,
        f"{file!r} can't be taken: {clause(why)}.",
        fix="Give inputs, outputs and axes short names, and export the model again.",
        file=file,
    )


def take_in(
    folder: Path, source_digest: str, shapes: Mapping[str, tuple[int, ...]], report: Report
) -> tuple[Program, Effect]:
    """The model in a folder as a Program with static shapes.

    Args:
        source_digest: Digest of the model's bundle, with which the lineage begins.
        shapes: Whole shapes by input name; inputs that are static need none.
        report: Called with a fraction (negative when unknown) and words.

    Raises:
        EdgeconvError: as `inspect_source`, and SHAPE_INVALID or DIMENSION_UNKNOWN.
    """
    source = recognise(folder)
    if source.format == "onnx":
        from edgeconv.conversion.intake.onnx.program import take_onnx

        return take_onnx(source.path, source_digest, shapes, report)
    from edgeconv.conversion.intake.pt2.program import take_pt2

    return take_pt2(source.path, source_digest, shapes, report)
