"""Makes an ONNX graph ready for quantization: opset 13 at least, constants folded.

Below opset 13 a quantizer writes per-channel weights that the runtime then refuses, and
without folding batch normalization stands between a convolution and its activation.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, helper

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause
from edgeconv.conversion.finishes.onnx_session import open_graph
from edgeconv.conversion.onnx_file import (
    DOMAINS,
    drop_wrong_value_infos,
    nodes_of,
    number_nodes,
    operator_counts,
    opset_of,
    read_onnx,
    write_onnx,
)
from edgeconv.results.effect import Note

LEAST_OPSET = 13
_RESIZE_CHOOSES = 11
"""From it on a resize says itself how it takes its values."""
_CHANGED = {"Hardmax"}
"""Operators that the version converter leaves as they are though their meaning changed."""
_FOLDABLE = {"BatchNormalization", "Constant", "Identity", "Shape", "Dropout"}
"""What a graph as frameworks write it holds, and one by the lowering here does not."""


def prepare(path: Path, scratch: Path) -> tuple[ModelProto, list[Note]]:
    """The graph with nodes numbered, folded and raised, and what was done to it.

    Folding is ONNX Runtime's own, at its basic level, which keeps to standard operators
    and leaves open axes open.

    Raises:
        EdgeconvError: NOT_APPLICABLE when the opset can't be raised.
    """
    model = read_onnx(path)
    drop_wrong_value_infos(model)
    notes = []
    opset = opset_of(model)
    if opset < LEAST_OPSET:
        model = _raise_opset(model)
        words = f"The graph was raised from opset {opset} to {opset_of(model)}."
        notes.append(Note(kind="info", subject="opset", message=words))
    before = operator_counts(model)
    if _FOLDABLE & set(before):
        model = _fold(model, scratch / "folding")
        removed = Counter(before) - Counter(operator_counts(model))
        words = f"Constants were folded; away are {_words(removed)}."
        notes.append(Note(kind="info", subject="graph", message=words))
    drop_wrong_value_infos(model)
    _drop_unused_domains(model)
    number_nodes(model.graph.node)
    return model, notes


def _raise_opset(model: ModelProto) -> ModelProto:
    opset = opset_of(model)
    for node in nodes_of(model):
        if node.op_type not in _CHANGED or node.domain not in DOMAINS:
            continue
        name = node.name or node.output[0]
        why = f"{node.op_type} at {name!r} means something else from opset 13 on"
        raise _not_raised(opset, why)
    try:
        raised: ModelProto = onnx.version_converter.convert_version(model, LEAST_OPSET)
    except Exception as fault:
        # The converter has a type of its own for each operator it can't adapt.
        raise _not_raised(opset, str(fault)) from fault
    if opset < _RESIZE_CHOOSES:
        for node in nodes_of(raised):
            _resize_as_before(node)
    return raised


def _resize_as_before(node: NodeProto) -> None:
    """Writes down where a resize takes its values, which the converter leaves to the default.

    Before opset 11 there was one way: places scaled without a shift, rounded down.
    """
    if node.op_type != "Resize" or node.domain not in DOMAINS:
        return
    wanted = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    kept = [each for each in node.attribute if each.name not in wanted]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(helper.make_attribute(name, value) for name, value in wanted.items())


def _not_raised(opset: int, why: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.NOT_APPLICABLE,
        f"The graph can't be raised from opset {opset} to {LEAST_OPSET}: {clause(why)}.",
        fix="Export the model with opset 13 or newer.",
        opset=opset,
    )


def _fold(model: ModelProto, scratch: Path) -> ModelProto:
    scratch.mkdir(parents=True)
    open_graph(write_onnx(model, scratch), "basic", written=scratch / "folded.onnx")
    return read_onnx(scratch / "folded.onnx")


def _drop_unused_domains(model: ModelProto) -> None:
    used = DOMAINS | {node.domain for node in nodes_of(model)}
    kept = [each for each in model.opset_import if each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
