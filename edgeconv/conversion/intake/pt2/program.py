"""Saved program → Program: positional, static, its tensors its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake.foreign_words import first_words
from edgeconv.conversion.intake.pt2.loading import LoadedProgram, load_program
from edgeconv.conversion.intake.sealing import seal
from edgeconv.conversion.intake.sizes import check_inputs
from edgeconv.conversion.program import Program
from edgeconv.recipe.signature import DeclaredTensor, TensorSpec, resolve_shapes
from edgeconv.results.effect import Effect, Note


class _Positional(nn.Module):
    """A saved program that takes its tensors by position and returns a flat tuple."""

    def __init__(self, loaded: LoadedProgram) -> None:
        super().__init__()
        # Without guards: they are code out of the file.
        self.program = loaded.exported.module(check_guards=False)
        self._structure = loaded.exported.call_spec.in_spec
        self._arguments = loaded.arguments
        self.training = False

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = iter(tensors)
        flat = [
            next(given) if isinstance(each, DeclaredTensor) else each.value
            for each in self._arguments
        ]
        positional, named = _pytree.tree_unflatten(flat, self._structure)
        return tuple(_pytree.tree_leaves(self.program(*positional, **named)))


def take_pt2(
    path: Path,
    source_digest: str,
    shapes: Mapping[str, tuple[int, ...]],
    report: Callable[[float, str], None],
) -> tuple[Program, Effect]:
    """See `edgeconv.conversion.intake.take_in`."""
    report(-1.0, "reading the exported program")
    loaded = load_program(path)
    inputs = _static_inputs(loaded, shapes)
    report(-1.0, "tracing the program at its static shapes")
    exported = _trace(loaded, inputs)
    operators = [node for node in exported.graph.nodes if node.op == "call_function"]
    effect = Effect(
        step="intake",
        summary=f"an exported program of {len(operators)} operators, its shapes fixed",
        changed=max(1, len(operators)),
        figures={"operators": len(operators)},
        notes=tuple(Note(kind="info", message=text) for text in loaded.notes),
    )
    names = [tensor.name for tensor in loaded.outputs]
    origins = _origins(loaded.exported, exported)
    return seal(exported, inputs, names, source_digest, effect, origins), effect


def _trace(loaded: LoadedProgram, inputs: tuple[TensorSpec, ...]) -> ExportedProgram:
    zeros = tuple(
        torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype.value)) for spec in inputs
    )
    try:
        with torch.no_grad():
            return torch.export.export(_Positional(loaded), zeros, strict=False)
    except Exception as error:
        # torch.export raises many types; its message names the operator or the shape.
        written = "; ".join(f"{spec.name} {list(spec.shape)}" for spec in inputs)
        raise EdgeconvError(
            Reason.SHAPE_INVALID,
            f"The program can't be traced at {written}: {first_words(error, 300)}",
            fix="Give shapes that the model was exported for.",
            shapes=written,
        ) from error


def _static_inputs(
    loaded: LoadedProgram, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[TensorSpec, ...]:
    resolved = resolve_shapes(loaded.inputs, shapes, loaded.ranges)
    inputs = tuple(
        TensorSpec(name=each.name, dtype=each.dtype, shape=resolved[each.name])
        for each in loaded.inputs
    )
    check_inputs(inputs)
    return inputs


def _origins(saved: ExportedProgram, traced: ExportedProgram) -> dict[str, str]:
    """Name of each operator → the user's module it comes from, where the file says so.

    Tracing drops the module paths, but names operators as the saved program does.
    """
    paths: dict[tuple[str, str], str] = {}
    for node in saved.graph.nodes:
        stack = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
        if stack:
            paths[node.name, str(node.target)] = stack[-1]
    return {
        node.name: paths[node.name, str(node.target)]
        for node in traced.graph.nodes
        if (node.name, str(node.target)) in paths
    }
