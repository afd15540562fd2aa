"""ONNX → Program: read, plan, fuse, trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake.foreign_words import first_words
from edgeconv.conversion.intake.onnx.fusion import Fusion, fuse
from edgeconv.conversion.intake.onnx.interpreter import Interpreter
from edgeconv.conversion.intake.onnx.model import OnnxModel, read_model
from edgeconv.conversion.intake.onnx.plan import Plan, make_plan
from edgeconv.conversion.intake.sealing import seal
from edgeconv.conversion.intake.sizes import check_inputs
from edgeconv.conversion.program import Program
from edgeconv.recipe.signature import DeclaredTensor, TensorSpec, resolve_shapes
from edgeconv.results.effect import Effect, Note


@dataclass(frozen=True)
class Interpreted:
    """A model as a module that torch runs.

    Attributes:
        inputs: With static shapes, in the user's order.
        fusion: The plan the interpreter runs, and what was fused.
    """

    inputs: tuple[TensorSpec, ...]
    fusion: Fusion
    interpreter: Interpreter

    def zeros(self) -> tuple[torch.Tensor, ...]:
        """An input of zeros."""
        return tuple(
            torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype.value)) for spec in self.inputs
        )


def interpret(
    model: OnnxModel, shapes: Mapping[str, tuple[int, ...]], *, fused: bool = True
) -> Interpreted:
    """The model as a module, its weights registered.

    Raises:
        EdgeconvError: OPERATOR_UNSUPPORTED, SHAPE_INVALID, DIMENSION_UNKNOWN.
    """
    inputs = static_inputs(model.inputs, shapes)
    plan = make_plan(model, inputs)
    fusion = fuse(plan) if fused else Fusion.nothing(plan)
    interpreter = Interpreter(fusion.plan)
    # The mode is set by hand: nothing here knows another.
    interpreter.eval()
    made = Interpreted(inputs, fusion, interpreter)
    # The first run registers the weights; on fake tensors, for it may divide by its inputs.
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        interpreter(*made.zeros())
    return made


def static_inputs(
    declared: tuple[DeclaredTensor, ...], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[TensorSpec, ...]:
    """Declared inputs with every axis known.

    Raises:
        EdgeconvError: SHAPE_INVALID, DIMENSION_UNKNOWN.
    """
    resolved = resolve_shapes(declared, shapes)
    inputs = tuple(
        TensorSpec(name=each.name, dtype=each.dtype, shape=resolved[each.name]) for each in declared
    )
    check_inputs(inputs)
    return inputs


def take_onnx(
    path: Path,
    source_digest: str,
    shapes: Mapping[str, tuple[int, ...]],
    report: Callable[[float, str], None],
) -> tuple[Program, Effect]:
    """See `edgeconv.conversion.intake.take_in`."""
    report(-1.0, "reading the ONNX graph")
    model = read_model(path)
    made = interpret(model, shapes)
    report(-1.0, "tracing the graph")
    exported = _trace(made)
    effect = _effect(model, made.fusion, exported)
    names = [tensor.name for tensor in model.outputs]
    origins = origins_of(exported, made.interpreter)
    return seal(exported, made.inputs, names, source_digest, effect, origins), effect


def _trace(made: Interpreted) -> ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(made.interpreter, made.zeros(), strict=False)
    except EdgeconvError:
        raise
    except Exception as error:
        # torch.export raises many types; its message names the operator.
        written = "; ".join(f"{spec.name} {list(spec.shape)}" for spec in made.inputs)
        raise EdgeconvError(
            Reason.OPERATOR_UNSUPPORTED,
            f"The graph can't be traced at {written}: {first_words(error, 300)}",
            shapes=written,
        ) from error


def origins_of(exported: ExportedProgram, interpreter: Interpreter) -> dict[str, str]:
    """Name of each traced operator → name of the ONNX node it comes from."""
    names = interpreter.node_names()
    origins = {}
    for node in exported.graph.nodes:
        for path, _ in (node.meta.get("nn_module_stack") or {}).values():
            if path in names:
                origins[node.name] = names[path]
    return origins


def _effect(model: OnnxModel, fusion: Fusion, exported: ExportedProgram) -> Effect:
    plan: Plan = fusion.plan
    made = sum(node.op == "call_function" for node in exported.graph.nodes)
    notes = [
        Note(kind="info", subject=name, message=f"fused {count} times")
        for name, count in sorted(fusion.counts.items())
    ]
    notes += [Note(kind="info", message=text) for text in model.notes]
    return Effect(
        step="intake",
        summary=f"{len(model.graph.nodes)} ONNX nodes became {made} operators",
        changed=max(1, len(model.graph.nodes)),
        figures={
            "nodes": len(model.graph.nodes),
            "folded": plan.folded,
            "fused": sum(fusion.counts.values()),
            "operators": made,
        },
        notes=tuple(notes),
    )
