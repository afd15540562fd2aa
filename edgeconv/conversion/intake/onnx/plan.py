"""Planning: the graph walked once eagerly, so that what is constant is known.

Shapes, and all that is computed from them and from constants, become numpy arrays; the
rest becomes a list of steps. The walk computes shapes and types only, on fake tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily

from edgeconv.conversion.intake.onnx import operators
from edgeconv.conversion.intake.onnx.call import Array, Call, Handler, Value, find_handler
from edgeconv.conversion.intake.onnx.model import (
    Graph,
    Node,
    OnnxModel,
    broken,
    unsupported,
)
from edgeconv.conversion.intake.sizes import LARGEST_FOLDED_BYTES, LONGEST_AXIS, is_too_large
from edgeconv.recipe.signature import TensorSpec

operators.load()


@dataclass(frozen=True)
class Ref:
    """A tensor computed at run time, by its name in the plan."""

    name: str


Argument = Ref | Array | None


@dataclass(frozen=True, eq=False)
class PlannedStep:
    """A node that runs, with its arguments."""

    node: Node
    arguments: tuple[Argument, ...]

    @property
    def refs(self) -> tuple[str, ...]:
        """Names of the tensors that it reads."""
        return tuple(each.name for each in self.arguments if isinstance(each, Ref))


@dataclass(frozen=True, eq=False)
class Plan:
    """What an interpreter runs.

    Attributes:
        inputs: Names, in the user's order.
        outputs: A reference or a constant per output of the user.
        named: Constants of the source file by identity: (name, array). The arrays are kept
            here, so that no other array can take their identity.
        folded: Number of nodes that became constants.
        tensors: What is computed, by name: of its shape and type, without values.
    """

    inputs: tuple[str, ...]
    steps: tuple[PlannedStep, ...]
    outputs: tuple[Ref | Array, ...]
    named: Mapping[int, tuple[str, Array]]
    folded: int
    tensors: Mapping[str, torch.Tensor]

    def with_steps(self, steps: Sequence[PlannedStep]) -> Plan:
        """The plan with other steps, less those that no output needs."""
        return replace(self, steps=tuple(_needed(steps, self.outputs)))


def make_plan(model: OnnxModel, inputs: Sequence[TensorSpec]) -> Plan:
    """Walks the model at these shapes.

    Raises:
        EdgeconvError: OPERATOR_UNSUPPORTED naming the node.
    """
    walk = _Walk()
    for spec in inputs:
        walk.bind(spec.name, walk.fake(spec))
    with torch.no_grad():
        walk.run(model.graph)
    outputs = tuple(walk.argument(name) for name in model.graph.outputs)
    plan = Plan(
        inputs=tuple(spec.name for spec in inputs),
        steps=(),
        outputs=tuple(each for each in outputs if each is not None),
        named=walk.named,
        folded=walk.folded,
        tensors=walk.tensors(),
    )
    return plan.with_steps(walk.steps)


def fresh_tensor(array: Array) -> torch.Tensor:
    """A tensor with a copy of the array; a real one, whatever mode torch is in."""
    with unset_fake_temporarily():
        return torch.from_numpy(np.array(array, copy=True, order="C"))


class _Walk:
    """The state of one walk: what every name stands for so far."""

    def __init__(self) -> None:
        self.steps: list[PlannedStep] = []
        self.folded = 0
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.named: dict[int, tuple[str, Array]] = {}
        self._values: dict[str, torch.Tensor | Array] = {}
        # A name of a subgraph may stand for a tensor of another name.
        self._aliases: dict[str, str] = {}

    def fake(self, spec: TensorSpec) -> torch.Tensor:
        """A tensor of that shape and type, without values."""
        with self._mode:
            return torch.empty(spec.shape, dtype=getattr(torch, spec.dtype.value))

    def bind(self, name: str, value: torch.Tensor | Array) -> None:
        """Gives a name its value."""
        self._values[name] = value
        if isinstance(value, np.ndarray):
            self.named.setdefault(id(value), (name, value))

    def tensors(self) -> dict[str, torch.Tensor]:
        """The fake tensors that were bound so far."""
        return {name: each for name, each in self._values.items() if isinstance(each, torch.Tensor)}

    def argument(self, name: str) -> Argument:
        """What a step gets for a tensor name."""
        if not name:
            return None
        value = self._values[name]
        return Ref(self._aliases.get(name, name)) if isinstance(value, torch.Tensor) else value

    def run(self, graph: Graph) -> None:
        """Walks the nodes of a graph or subgraph."""
        for name, array in graph.constants.items():
            self.bind(name, array)
        for node in graph.nodes:
            self._visit(node)

    def _visit(self, node: Node) -> None:
        values: list[Value] = [self._values[name] if name else None for name in node.inputs]
        if node.operator == "If":
            self._inline(node, values[0])
            return
        constants = self._fold(node, values)
        if constants is not None:
            self.folded += 1
            self._bind_all(node, constants)
            return
        handler = find_handler(node)
        if handler is None:
            raise _no_handler(node)
        with self._mode:
            made = Call(node, fresh_tensor).run(handler, values)
        self.steps.append(PlannedStep(node, tuple(self.argument(name) for name in node.inputs)))
        self._bind_all(node, made)

    def _bind_all(self, node: Node, made: Sequence[torch.Tensor | Array]) -> None:
        for name, value in zip(node.outputs, made, strict=False):
            if name:
                self.bind(name, value)

    def _fold(self, node: Node, values: Sequence[Value]) -> Sequence[Array] | None:
        known = _FROM_SHAPE.get(node.operator)
        if known is not None:
            return [known(node, values)]
        if any(isinstance(value, torch.Tensor) for value in values):
            return None
        if node.operator in _RANDOM:
            raise unsupported(node.name, node.operator, "random numbers can't be proven the same")
        handler = find_handler(node)
        if handler is None:
            return _evaluate(node, values)
        if _may_grow(node, values):
            self._run_without_values(node, handler, values)
        made = Call(node, fresh_tensor).run(handler, values)
        return [tensor.detach().contiguous().numpy().copy() for tensor in made]

    def _run_without_values(self, node: Node, handler: Handler, values: Sequence[Value]) -> None:
        """Refuses what would be too large, before memory is taken for it."""
        with self._mode:
            made = Call(node, fresh_tensor).run(handler, values)
        if any(each.numel() * each.element_size() > LARGEST_FOLDED_BYTES for each in made):
            raise unsupported(node.name, node.operator, "it makes a constant without measure")

    def _inline(self, node: Node, condition: Value) -> None:
        if not isinstance(condition, np.ndarray):
            why = "its condition is computed at run time"
            raise unsupported(node.name, node.operator, why, "Export the branch that is used.")
        if condition.size != 1:
            raise broken(node.name, "its condition is not one value")
        branch: Graph = node.attributes["then_branch" if condition.item() else "else_branch"]
        if branch.inputs or len(branch.outputs) != len(node.outputs):
            raise broken(node.name, "its branches have other inputs or outputs than it has")
        self.run(branch)
        for name, inner in zip(node.outputs, branch.outputs, strict=True):
            self.bind(name, self._values[inner])
            if isinstance(self._values[inner], torch.Tensor):
                self._aliases[name] = self._aliases.get(inner, inner)


def _no_handler(node: Node) -> Exception:
    why = f"version {node.version} of this operator is not supported on computed values"
    return unsupported(node.name, node.operator, why)


def _shape_of(node: Node, values: Sequence[Value]) -> Array:
    value = values[0]
    assert value is not None
    shape = list(value.shape)
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return np.array(shape[slice(start, end)], dtype=np.int64)


def _size_of(node: Node, values: Sequence[Value]) -> Array:
    value = values[0]
    assert value is not None
    return np.array(np.prod(value.shape, dtype=np.int64), dtype=np.int64)


def _constant(node: Node, values: Sequence[Value]) -> Array:
    if "value" in node.attributes:
        return np.asarray(node.attributes["value"])
    for key, dtype in _CONSTANT_KINDS.items():
        if key in node.attributes:
            return np.array(node.attributes[key], dtype=dtype)
    raise unsupported(node.name, node.operator, "it holds strings or a sparse tensor")


_CONSTANT_KINDS = {
    "value_float": np.float32, "value_floats": np.float32,
    "value_int": np.int64, "value_ints": np.int64,
}  # fmt: skip
_FROM_SHAPE: dict[str, Callable[[Node, Sequence[Value]], Array]] = {
    "Constant": _constant,
    "Shape": _shape_of,
    "Size": _size_of,
}
_RANDOM = {
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}  # fmt: skip


_GROWING = {
    "AveragePool", "Conv", "ConvTranspose", "Expand", "LpPool", "MaxPool", "OneHot", "Pad",
    "Resize", "Tile", "Upsample",
}  # fmt: skip
_GROWING_IN_EVALUATOR = {
    "BlackmanWindow", "CenterCropPad", "Col2Im", "DFT", "HammingWindow", "HannWindow",
    "MaxUnpool", "MelWeightMatrix", "STFT",
}  # fmt: skip
_SMALL = 1 << 24


def _may_grow(node: Node, values: Sequence[Value]) -> bool:
    """Whether a node of constants can make much more than it reads."""
    sizes = (value.size for value in values if isinstance(value, np.ndarray))
    return node.operator in _GROWING or math.prod(sizes) > _SMALL


def _check_evaluated_size(node: Node, values: Sequence[Value]) -> None:
    """Refuses what the evaluator would take memory for without measure."""
    given = [value for value in values if isinstance(value, np.ndarray) and value.size]
    length = 0.0
    if node.operator == "ConstantOfShape" and given:
        if is_too_large([int(size) for size in given[0].flat], 1):
            length = math.inf
    elif node.operator == "Range" and len(given) == 3:
        start, limit, step = (float(each.flat[0]) for each in given)
        length = (limit - start) / step if step else math.inf
    elif node.operator in _GROWING_IN_EVALUATOR:
        lengths = (float(each.max()) for each in given if each.dtype.kind == "i")
        length = max(lengths, default=0.0)
    if length > LONGEST_AXIS:
        raise unsupported(node.name, node.operator, "it makes a tensor without measure")


def _evaluate(node: Node, values: Sequence[Value]) -> Sequence[Array]:
    """Computes a node of constants with the standard's own reference evaluator."""
    _check_evaluated_size(node, values)
    try:
        given = {f"i{place}": value for place, value in enumerate(values) if value is not None}
        inputs = [f"i{place}" if value is not None else "" for place, value in enumerate(values)]
        outputs = [f"o{place}" for place in range(len(node.outputs))]
        attributes: dict[str, Any] = {
            key: onnx.numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            for key, value in node.attributes.items()
        }
        proto = onnx.helper.make_node(node.operator, inputs, outputs, **attributes)
        made = ReferenceEvaluator(proto, opsets={"": node.version}).run(None, given)
    except Exception as error:
        # The evaluator raises whatever numpy and its operators raise.
        raise _no_handler(node) from error
    arrays = [np.asarray(value) for value in made]
    if any(array.dtype.kind not in "fiub" for array in arrays):
        raise _no_handler(node)
    return arrays


def _needed(steps: Sequence[PlannedStep], outputs: Sequence[Ref | Array]) -> list[PlannedStep]:
    wanted = {each.name for each in outputs if isinstance(each, Ref)}
    kept: list[PlannedStep] = []
    for step in reversed(steps):
        if wanted.intersection(step.node.outputs):
            kept.append(step)
            wanted.update(step.refs)
    return kept[::-1]
