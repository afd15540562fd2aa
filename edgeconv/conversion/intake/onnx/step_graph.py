"""A plan's steps as a graph, in which patterns of several steps are looked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from edgeconv.conversion.intake.onnx.plan import Argument, Plan, PlannedStep, Ref


@dataclass(frozen=True)
class Match:
    """Steps that compute one larger operator.

    Attributes:
        name: What was found, for notes.
        last: The step whose output is the operator's.
        step: What stands in its place.
        gone: The other steps.
    """

    name: str
    last: PlannedStep
    step: PlannedStep
    gone: Collection[PlannedStep]


class StepGraph:
    """Who makes and who reads every tensor."""

    def __init__(self, plan: Plan, steps: Sequence[PlannedStep]) -> None:
        self.steps = tuple(steps)
        self._tensors = plan.tensors
        self._outputs = {each.name for each in plan.outputs if isinstance(each, Ref)}
        self._makers = {name: step for step in steps for name in step.node.outputs if name}
        self._readers: dict[str, list[PlannedStep]] = {}
        for step in steps:
            for name in dict.fromkeys(step.refs):
                self._readers.setdefault(name, []).append(step)

    def maker(self, name: str, *operators: str) -> PlannedStep | None:
        """The step that makes a tensor as its first output, if it is one of the operators."""
        step = self._makers.get(name)
        if step is None or step.node.outputs[0] != name:
            return None
        return step if step.node.operator in operators else None

    def readers(self, name: str, *operators: str) -> list[PlannedStep]:
        """The steps of these operators that read a tensor."""
        return [s for s in self._readers.get(name, ()) if s.node.operator in operators]

    def tensor(self, name: str) -> torch.Tensor:
        """The tensor's shape and type, without values."""
        return self._tensors[name]

    def hidden(self, gone: Collection[PlannedStep], last: PlannedStep) -> bool:
        """Whether nothing but these steps reads what the gone ones make."""
        return all(
            name not in self._outputs
            and all(each in gone or each is last for each in self._readers.get(name, ()))
            for step in gone
            for name in step.node.outputs
            if name
        )


Find = Callable[[PlannedStep, StepGraph], Match | None]


def single_number(value: Argument, rank: int) -> float | None:
    """A constant of one element that keeps the shape of a tensor of this rank."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fi":
        return None
    if value.size != 1 or value.ndim > rank:
        return None
    return float(value.reshape(()))
