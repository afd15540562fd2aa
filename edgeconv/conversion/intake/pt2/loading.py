"""A checked program in torch, and the interface that it declares."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind, TensorArgument
from torch.export.pt2_archive._package import load_pt2

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.conversion.intake.foreign_words import first_words
from edgeconv.conversion.intake.pt2.archive import CheckedArchive, check_archive
from edgeconv.conversion.intake.pt2.functional import make_functional
from edgeconv.conversion.intake.pt2.output_names import output_names
from edgeconv.conversion.intake.sealing import check_inference
from edgeconv.recipe.signature import DeclaredTensor, DType, SizeRange

_FAILED_NODE = re.compile(r"Failed deserializing node Node\(target='([\w.]{1,100})'")
_REWRITTEN = "The program changes tensors in place; torch rewrote it without that."


@dataclass(frozen=True)
class LoadedProgram:
    """A program as it was saved.

    Attributes:
        arguments: One entry per leaf of the call: a declared input, or the constant that
            stands there.
        ranges: Name of an open axis → the sizes it was exported for. The file does not keep
            the names of the user, so an axis is named after the input where it first
            stands: "image.3".
        notes_on_outputs: What is to be said of the outputs' names.
    """

    exported: ExportedProgram
    arguments: tuple[DeclaredTensor | ConstantArgument, ...]
    outputs: tuple[DeclaredTensor, ...]
    ranges: Mapping[str, SizeRange]
    notes: tuple[str, ...]
    notes_on_outputs: tuple[str, ...]

    @property
    def inputs(self) -> tuple[DeclaredTensor, ...]:
        """The tensors among the arguments."""
        return tuple(each for each in self.arguments if isinstance(each, DeclaredTensor))


def load_program(path: Path) -> LoadedProgram:
    """Checks and loads a `.pt2` file; what is in it can't run code.

    Raises:
        EdgeconvError: MODEL_UNREADABLE, MODEL_UNSAFE, OPERATOR_UNSUPPORTED.
    """
    checked = check_archive(path)
    try:
        return _loaded(checked)
    except EdgeconvError:
        raise
    except Exception as error:
        # torch's reader and its rewrites raise whatever their parts raise on a program that
        # is not whole.
        raise EdgeconvError(
            Reason.MODEL_UNREADABLE,
            f"torch {torch.__version__.partition('+')[0]} can't read {path.name!r}, saved by torch"
            f" {checked.torch_version[:40]!r}: {_told(error)}",
            fix="Export it again with the torch of this service.",
            file=path.name,
        ) from error


def _told(error: BaseException) -> str:
    """What torch says, without the dumps of its objects."""
    node = _FAILED_NODE.match(str(error))
    if node is not None and error.__cause__ is not None:
        return f"{node[1]}: {_told(error.__cause__)}"
    return first_words(error)


def _loaded(checked: CheckedArchive) -> LoadedProgram:
    exported = load_pt2(checked.content).exported_programs["model"]
    exported, rewritten = make_functional(exported)
    check_inference(exported)
    notes = [*checked.notes, *([_REWRITTEN] if rewritten else [])]
    axes = _axis_names(exported)
    arguments = tuple(_arguments(exported, axes))
    taken = {each.name for each in arguments if isinstance(each, DeclaredTensor)}
    names, notes_on_outputs = output_names(exported.call_spec.out_spec, taken)
    return LoadedProgram(
        exported,
        arguments,
        tuple(_outputs(exported, axes, names)),
        _ranges(exported, axes),
        tuple(notes),
        tuple(notes_on_outputs),
    )


def _axis_names(exported: ExportedProgram) -> dict[str, str]:
    """Torch's name of an open axis, such as "s77" → the one that is shown."""
    values = _values(exported)
    names: dict[str, str] = {}
    for spec in exported.graph_signature.input_specs:
        if spec.kind is InputKind.USER_INPUT and isinstance(spec.arg, TensorArgument):
            for axis, size in enumerate(values[spec.arg.name].shape):
                if not isinstance(size, int) and size.node.expr.is_Symbol:
                    names.setdefault(str(size.node.expr), f"{spec.arg.name}.{axis}")
    return names


def _ranges(exported: ExportedProgram, axes: Mapping[str, str]) -> dict[str, SizeRange]:
    bounds = {str(symbol): each for symbol, each in exported.range_constraints.items()}
    return {
        name: SizeRange(
            least=int(bounds[symbol].lower),
            most=int(bounds[symbol].upper) if bounds[symbol].upper.is_Integer else None,
        )
        for symbol, name in axes.items()
        if symbol in bounds
    }


def _arguments(
    exported: ExportedProgram, axes: Mapping[str, str]
) -> Iterator[DeclaredTensor | ConstantArgument]:
    values = _values(exported)
    for spec in exported.graph_signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT:
            continue
        if isinstance(spec.arg, TensorArgument):
            yield _declared(spec.arg.name, values[spec.arg.name], axes)
        elif isinstance(spec.arg, ConstantArgument):
            yield spec.arg
        else:
            raise _no_tensor(spec.arg.name, "input")


def _outputs(
    exported: ExportedProgram, axes: Mapping[str, str], names: Sequence[str]
) -> Iterator[DeclaredTensor]:
    values = _values(exported)
    places = [
        spec
        for spec in exported.graph_signature.output_specs
        if spec.kind is OutputKind.USER_OUTPUT
    ]
    if not places:
        raise EdgeconvError(Reason.MODEL_UNREADABLE, "The program returns nothing.")
    for name, spec in zip(names, places, strict=True):
        if not isinstance(spec.arg, TensorArgument):
            raise _no_tensor(name, "output")
        yield _declared(name, values[spec.arg.name], axes)


def _values(exported: ExportedProgram) -> dict[str, Any]:
    return {node.name: node.meta.get("val") for node in exported.graph.nodes}


def _declared(name: str, value: torch.Tensor, axes: Mapping[str, str]) -> DeclaredTensor:
    text = str(value.dtype).removeprefix("torch.")
    if text not in {dtype.value for dtype in DType}:
        raise _no_tensor(name, f"{text} tensor")
    shape = tuple(_axis(size, axes) for size in value.shape)
    return DeclaredTensor(name=name, dtype=DType(text), shape=shape)


def _axis(size: int | torch.SymInt, axes: Mapping[str, str]) -> int | str:
    if isinstance(size, int):
        return size
    expression = size.node.expr
    if expression.is_Integer:
        return int(expression)
    return axes.get(str(expression), "?")


def _no_tensor(name: str, what: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.OPERATOR_UNSUPPORTED,
        f"{name!r} of the program is no tensor that can be deployed ({what}).",
        fix="Take and return tensors of plain numbers only.",
        name=name,
    )
