"""Program → ONNX, by torch's own exporter."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from typing import ClassVar

import torch
from onnx import ModelProto

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.onnx_file import (
    ONNX_FILE,
    drop_wrong_value_infos,
    number_nodes,
    operator_counts,
    opset_of,
    strip,
    write_onnx,
)
from edgeconv.conversion.program import Artifact, Context, Program
from edgeconv.recipe.specs import OnnxOptions, StepKind, StepSpec, spec_of
from edgeconv.results.effect import Effect
from edgeconv.results.lineage import LineageStep

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_OPERATOR = re.compile(r"(?:OpOverload\(op='|target=torch\.ops\.)(\w+\.\w+)")


class OnnxLowering:
    """Writes the graph under the user's names, weights inside, without traces of the source."""

    spec: ClassVar[StepSpec] = spec_of(StepKind.LOWERING, "onnx")

    def apply(
        self, program: Program, options: OnnxOptions, context: Context
    ) -> tuple[Artifact, Effect]:
        """Writes `model.onnx`; see `Lowering`."""
        context.report(-1.0, "lowering to ONNX")
        model = _export(program, options.opset)
        _check_opset(model, options.opset)
        strip(model)
        drop_wrong_value_infos(model)
        number_nodes(model.graph.node)
        path = write_onnx(model, context.folder)
        counts = operator_counts(model)
        effect = Effect(
            step=self.spec.name,
            summary=f"{sum(counts.values())} operators of {len(counts)} kinds,"
            f" opset {options.opset}",
            changed=sum(counts.values()),
            figures={"size_bytes": path.stat().st_size},
        )
        step = LineageStep(
            kind=self.spec.kind,
            name=self.spec.name,
            revision=self.spec.revision,
            options=options.model_dump(mode="json"),
            effect=effect,
        )
        lineage = program.lineage.then(step)
        return Artifact("onnx", context.folder, ONNX_FILE, program.signature, lineage), effect


def _export(program: Program, opset: int) -> ModelProto:
    signature = program.signature
    try:
        # The exporter prints its progress.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(
                program.exported,
                dynamo=True,
                opset_version=opset,
                input_names=[spec.name for spec in signature.inputs],
                output_names=[spec.name for spec in signature.outputs],
                verbose=False,
            )
    except Exception as fault:
        # The exporter raises whatever its parts raise.
        raise _refusal(fault) from fault
    if exported is None:
        raise EdgeconvError(Reason.LOWERING_FAILED, "torch's ONNX exporter gave no model.")
    model: ModelProto = exported.model_proto
    return model


def _refusal(fault: Exception) -> EdgeconvError:
    """In the words of the first cause: the exporter's own are on how to report a bug."""
    first: BaseException = fault
    faults = [first]
    while first.__cause__ is not None:
        first = first.__cause__
        faults.append(first)
    lines = [_ESCAPES.sub("", str(each)).strip().splitlines() for each in faults]
    words = lines[-1][0][:500] if lines[-1] else type(first).__name__
    found = _OPERATOR.search(" ".join(line for each in reversed(lines) for line in each[:1]))
    operator = found.group(1) if found else ""
    where = f" at {operator}" if operator else ""
    return EdgeconvError(
        Reason.LOWERING_FAILED,
        f"torch's ONNX exporter refused the program{where}: {words}",
        fix=f"Write the model without {operator}, with operators that ONNX has."
        if operator
        else "",
        said=words,
        operator=operator,
    )


def _check_opset(model: ModelProto, asked: int) -> None:
    # Where a conversion between versions fails, the exporter keeps its own one silently.
    if opset_of(model) != asked:
        raise EdgeconvError(
            Reason.LOWERING_FAILED,
            f"The exporter wrote opset {opset_of(model)}, not {asked}.",
            fix=f"Ask for opset {opset_of(model)}.",
            asked=asked,
            got=opset_of(model),
        )
