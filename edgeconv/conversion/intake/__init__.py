"""Intake: a model's files become an inspection, and a Program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from edgeconv.conversion.intake.formats import recognise
from edgeconv.conversion.program import Program
from edgeconv.recipe.inspection import Inspection
from edgeconv.results.effect import Effect

Report = Callable[[float, str], None]


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

        return inspect_onnx(source.path)
    from edgeconv.conversion.intake.pt2.inspection import inspect_pt2

    return inspect_pt2(source.path)


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
