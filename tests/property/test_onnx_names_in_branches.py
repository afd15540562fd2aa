"""Branches that reuse names, nested and side by side, against the standard's own evaluator."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgeconv.conversion.intake.onnx.inspection import all_nodes
from edgeconv.conversion.intake.onnx.model import read_model
from edgeconv.conversion.intake.onnx.program import interpret
from edgeconv.testing.onnx_graphs import node, write_graph

# Few, so that they meet; some look like those that a reader could make of the others.
NAMES = ("t", "u", "If_0/t", "If_0/If_0/t", "gate/t", "If_0/t#2", "gate/u")
UNARY = ("Sigmoid", "Tanh", "Neg", "Abs")
SHAPE = [1, 4]
X = np.array([[-0.7, 0.1, 0.6, 1.3]], np.float32)


@dataclass
class Drawer:
    """Draws the nodes of one graph; a name is new wherever it can be seen from."""

    dice: random.Random
    depth: int
    seen: set[str]
    tensors: list[str]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.given = len(self.tensors)

    def fill(self) -> str:
        """Draws nodes and gives the name of the last tensor."""
        # Its branches see an initializer from the first node on.
        weight = self._initializer()
        for _ in range(2):
            kinds = ["unary", "binary", "constant", *(["If"] * 3 if self.depth else [])]
            getattr(self, f"_{self.dice.choice(kinds).lower()}")()
        return self._join(weight)

    def _new(self) -> str:
        free = [name for name in NAMES if name not in self.seen]
        name = self.dice.choice(free) if free else f"n{len(self.seen)}"
        self.seen.add(name)
        self.tensors.append(name)
        return name

    def _any(self) -> str:
        return self.dice.choice(self.tensors)

    def _unary(self) -> None:
        given = self._any()
        self.nodes.append(node(self.dice.choice(UNARY), [given], [self._new()]))

    def _binary(self) -> None:
        given = [self._any(), self._any()]
        self.nodes.append(node("Sub", given, [self._new()]))

    def _constant(self) -> None:
        value = np.full(SHAPE, self.dice.randint(2, 9), np.float32)
        self.nodes.append(node("Constant", [], [self._new()], value=value))

    def _initializer(self) -> str:
        value = np.full(SHAPE, self.dice.randint(2, 9) / 2, np.float32)
        self.constants.append(numpy_helper.from_array(value, self._new()))
        return self.constants[-1].name

    def _if(self) -> None:
        # The standard counts an If's own outputs among what its branches see.
        out = self._new()
        tensors = [name for name in self.tensors if name != out]
        branches = {
            key: branch_of(Drawer(self.dice, self.depth - 1, set(self.seen), list(tensors)))
            for key in ("then_branch", "else_branch")
        }
        condition = self.dice.choice(["yes", "no"])
        name = self.dice.choice(["", "gate"])
        self.nodes.append(node("If", [condition], [out], name, **branches))

    def _join(self, weight: str) -> str:
        # All that was made is in the last tensor.
        last = "x"
        for each in self.tensors[self.given :]:
            scaled, total = self._new(), self._new()
            self.nodes += [
                node("Mul", [last, weight], [scaled]),
                node("Add", [scaled, each], [total]),
            ]
            last = total
        # A branch must make its output itself.
        self.nodes.append(node("Identity", [last], [self._new()]))
        return self.tensors[-1]


def branch_of(drawer: Drawer) -> GraphProto:
    out = helper.make_tensor_value_info(drawer.fill(), TensorProto.FLOAT, SHAPE)
    return helper.make_graph(drawer.nodes, "branch", [], [out], drawer.constants)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_branches_compute_what_the_standard_says(seed: int) -> None:
    drawer = Drawer(random.Random(seed), depth=2, seen={"x"}, tensors=["x"])
    last = drawer.fill()
    constants = {each.name: numpy_helper.to_array(each) for each in drawer.constants}
    constants |= {"yes": np.array(True), "no": np.array(False)}
    with tempfile.TemporaryDirectory() as folder:
        path = write_graph(
            Path(folder) / "m.onnx", drawer.nodes, {"x": ("float32", SHAPE)},
            {last: ("float32", SHAPE)}, constants,
        )  # fmt: skip
        onnx.checker.check_model(onnx.load(str(path)))
        [want] = ReferenceEvaluator(str(path)).run(None, {"x": X})
        model = read_model(path)
    with torch.no_grad():
        got = interpret(model, {}).interpreter(torch.from_numpy(X))[0].numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    made = [name for each in all_nodes(model) for name in each.outputs if name]
    assert len(made) == len(set(made))
