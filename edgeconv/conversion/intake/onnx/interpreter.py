"""The interpreting module: a plan that torch can run and export."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from edgeconv.conversion.intake.onnx.call import Array, Call, Value, find_handler
from edgeconv.conversion.intake.onnx.model import unsupported
from edgeconv.conversion.intake.onnx.plan import Plan, PlannedStep, Ref, fresh_tensor

Watcher = Callable[[str, torch.Tensor], None]


class Weights(nn.Module):
    """Every constant tensor of the program, once; floats are parameters, others buffers.

    All are registered before tracing: torch.export can't take in a tensor that a handler
    makes while it traces.
    """

    def __init__(self, named: Mapping[int, tuple[str, Array]]) -> None:
        super().__init__()
        self._named = dict(named)
        self._by_source: dict[int, str] = {}
        self._taken: set[str] = set()

    def register(self, array: Array, node: str, place: int) -> str:
        """Registers a constant and gives the attribute it can be read from.

        A tensor of the source file is registered once, however many nodes read it.
        """
        known = self._named.get(id(array))
        if known is not None and id(array) in self._by_source:
            return self._by_source[id(array)]
        name = self._unused(known[0] if known is not None else f"{node}_{place}")
        tensor = fresh_tensor(array)
        with unset_fake_temporarily():
            if tensor.is_floating_point():
                self.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(name, tensor)
        if known is not None:
            self._by_source[id(array)] = name
        return name

    def _unused(self, wanted: str) -> str:
        base = "t_" + re.sub(r"\W+", "_", wanted, flags=re.ASCII).strip("_")[:80]
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name


class StepModule(nn.Module):
    """One node. A module of its own, so that every traced operator knows its node.

    The first run registers the constants that the handler asks for; later runs read them
    in the same order.
    """

    def __init__(self, step: PlannedStep, weights: Weights) -> None:
        super().__init__()
        self.step = step
        handler = find_handler(step.node)
        if handler is None:
            raise unsupported(step.node.name, step.node.operator, "it has no handler")
        self._handler = handler
        # In a tuple, so that torch does not see the module a second time.
        self._weights = (weights,)
        self._names: list[str] | None = None

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        computed = iter(tensors)
        values: list[Value] = [
            next(computed) if isinstance(each, Ref) else each for each in self.step.arguments
        ]
        return self._call().run(self._handler, values)

    def _call(self) -> Call:
        [weights] = self._weights
        if self._names is not None:
            names = iter(self._names)
            return Call(self.step.node, lambda array: getattr(weights, next(names)))
        recorded: list[str] = []
        self._names = recorded

        def register(array: Array) -> torch.Tensor:
            recorded.append(weights.register(array, self.step.node.name, len(recorded)))
            tensor: torch.Tensor = getattr(weights, recorded[-1])
            return tensor

        return Call(self.step.node, register)


class Interpreter(nn.Module):
    """Runs a plan: tensors in the user's order in, a tuple in the user's order out."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.weights = Weights(plan.named)
        self.steps = nn.ModuleList(StepModule(step, self.weights) for step in plan.steps)
        self._plan = plan
        self._constants = {
            place: self.weights.register(each, "output", place)
            for place, each in enumerate(plan.outputs)
            if isinstance(each, np.ndarray)
        }

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.run(inputs)

    def run(
        self, inputs: Sequence[torch.Tensor], watch: Watcher | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Runs all steps; `watch` sees every tensor by its ONNX name."""
        values = dict(zip(self._plan.inputs, inputs, strict=True))
        for module in self.steps:
            assert isinstance(module, StepModule)
            made = module(*(values[name] for name in module.step.refs))
            for name, tensor in zip(module.step.node.outputs, made, strict=False):
                if name:
                    values[name] = tensor
                    if watch is not None:
                        watch(name, tensor)
        return tuple(self._output(place, values) for place in range(len(self._plan.outputs)))

    def _output(self, place: int, values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        wanted = self._plan.outputs[place]
        if not isinstance(wanted, Ref):
            weight: torch.Tensor = getattr(self.weights, self._constants[place])
            return weight.clone()
        value = values[wanted.name]
        return value.clone() if wanted.name in self._plan.inputs else value

    def node_names(self) -> dict[str, str]:
        """Path of each step's module → name of its ONNX node."""
        return {
            f"steps.{place}": module.step.node.name
            for place, module in enumerate(self.steps)
            if isinstance(module, StepModule)
        }
