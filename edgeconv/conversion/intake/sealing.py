"""From an exported graph to a Program: its tensors its own, its signature the user's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.sentences import clause
from edgeconv.conversion.intake.sizes import LARGEST_BYTES, is_too_large
from edgeconv.conversion.program import Program
from edgeconv.recipe.signature import DType, Signature, TensorSpec
from edgeconv.recipe.specs import StepKind, spec_of
from edgeconv.results.effect import Effect
from edgeconv.results.lineage import Lineage, LineageStep

_TRAINING = ("train", "training")
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


def seal(
    exported: ExportedProgram,
    inputs: Sequence[TensorSpec],
    output_names: Sequence[str],
    source_digest: str,
    effect: Effect,
    origins: Mapping[str, str],
) -> Program:
    """A Program of a freshly exported graph.

    Raises:
        EdgeconvError: OPERATOR_UNSUPPORTED for a graph in training mode, with random
            numbers, or with state that it changes.
    """
    check_inference(exported)
    _check_sizes(exported)
    own_tensors(exported)
    for node in exported.graph.nodes:
        node.meta.pop("stack_trace", None)
    exported.example_inputs = None
    options = {"shapes": {spec.name: list(spec.shape) for spec in inputs}}
    spec = spec_of(StepKind.INTAKE, "intake")
    step = LineageStep(
        kind=spec.kind, name=spec.name, revision=spec.revision, options=options, effect=effect
    )
    signature = Signature(inputs=tuple(inputs), outputs=_outputs(exported, output_names))
    lineage = Lineage(source=source_digest).then(step)
    return Program(exported, signature, lineage, dict(origins))


def own_tensors(exported: ExportedProgram) -> None:
    """Replaces every tensor of a program by a contiguous copy that shares no memory.

    Converters take a tensor that is not contiguous, or shares memory, for another one.
    """
    for tensors in (exported.state_dict, exported.constants):
        for name, value in tensors.items():
            if not isinstance(value, torch.Tensor):
                continue
            copy = value.detach().clone(memory_format=torch.contiguous_format)
            if isinstance(value, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, requires_grad=value.requires_grad)
            tensors[name] = copy


def check_inference(exported: ExportedProgram) -> None:
    """Refuses what a deployed model can't do: train, draw random numbers, keep state.

    Raises:
        EdgeconvError: OPERATOR_UNSUPPORTED naming the node.
    """
    for module in _graphs(exported.graph_module):
        for node in module.graph.nodes:
            if node.op == "call_function":
                _check_node(node)
    for spec in exported.graph_signature.output_specs:
        if spec.kind is not OutputKind.USER_OUTPUT:
            target = spec.target or spec.arg.name
            raise _refused(
                target, spec.kind.name.lower(), "the program changes it while it runs",
                "Give the state as an input and return it as an output.",
            )  # fmt: skip


def _check_sizes(exported: ExportedProgram) -> None:
    for node in exported.graph.nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or node.op != "call_function":
            continue
        shape = [size for size in value.shape if isinstance(size, int)]
        if is_too_large(shape, value.element_size()):
            what = getattr(node.target, "__name__", str(node.target))
            why = f"it makes a tensor {shape[:12]} of more than {LARGEST_BYTES >> 30} GiB"
            raise _refused(node.name, what, why, "Export the model for smaller inputs.")


def _check_node(node: torch.fx.Node) -> None:
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return
    operator = str(schema.name).rpartition("::")[2].rstrip("_")
    given = {each.name: each.default_value for each in schema.arguments}
    given.update(zip(given, node.args, strict=False))
    given.update(node.kwargs)
    if _is_training(operator, given):
        raise _refused(
            node.name, operator, "it is in training mode",
            "Call model.eval() before torch.export.export.",
        )  # fmt: skip
    if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()) and _draws(given):
        raise _refused(
            node.name, operator, "random numbers can't be proven the same", "Give them as an input."
        )


def _is_training(operator: str, given: Mapping[str, Any]) -> bool:
    # Where the flag may be left open, as in native_dropout, open means training.
    if all(given.get(name, False) is False for name in _TRAINING):
        return False
    # Without dropout a recurrent layer in training mode computes the same.
    drops = given.get("dropout", given.get("p", 1.0))
    return not (operator in _RECURRENT and drops == 0)


def _draws(given: Mapping[str, Any]) -> bool:
    """Whether an operator that torch tags as random is so with these arguments.

    The tag is also on what drops elements in training only, and on attention, which does
    so with a probability of its own.
    """
    if any(name in given for name in _TRAINING):
        return False
    return bool(given.get("dropout_p", 1.0))


def _refused(node: str, operator: str, why: str, fix: str) -> EdgeconvError:
    return EdgeconvError(
        Reason.OPERATOR_UNSUPPORTED,
        f"Node {node!r} ({operator}) can't be taken: {clause(why)}.",
        fix=fix,
        node=node,
        operator=operator,
    )


def _graphs(module: torch.fx.GraphModule) -> Iterator[torch.fx.GraphModule]:
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            yield part


def _outputs(exported: ExportedProgram, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    values: dict[str, Any] = {node.name: node.meta.get("val") for node in exported.graph.nodes}
    specs = []
    for spec, name in zip(exported.graph_signature.output_specs, names, strict=True):
        value = values.get(getattr(spec.arg, "name", ""))
        if not isinstance(value, torch.Tensor):
            raise _refused(name, "output", "it is not a tensor", "Return tensors only.")
        dtype = str(value.dtype).removeprefix("torch.")
        specs.append(TensorSpec(name=name, dtype=DType(dtype), shape=tuple(value.shape)))
    return tuple(specs)
