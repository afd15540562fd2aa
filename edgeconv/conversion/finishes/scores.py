"""What a Softmax reads, and below which value nothing of it is left in what it gives.

exp(-20) is 2e-9: a score that lies 20 below the largest one of its row has no weight. Masks
are made of such scores, -1e4 or -1e9, and a range that follows them leaves nothing for the
others in 8 bits: from -1e4 to 10 a step is 39.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from edgeconv.conversion.onnx_file import DOMAINS
from edgeconv.conversion.tflite_file import operator_name, text

VANISHED = 20.0
_HIDDEN = -1000.0
"""A row whose largest score lies below is hidden as a whole: no position is looked at."""
_ONNX_MOVES = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Identity"}
_TFLITE_MOVES = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE"}


@dataclass(frozen=True)
class Node:
    """An operator of either format: "softmax", "add", "move" (the same values), or "other"."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axis: int = -1


@dataclass(frozen=True)
class Scores:
    """A tensor that a Softmax reads and nothing else does.

    Attributes:
        name: The tensor.
        axis: Along which the Softmax goes.
        same: It, and tensors of the same values on the way to it.
        addends: The two tensors whose sum it is, if an addition makes it.
    """

    name: str
    axis: int
    same: tuple[str, ...]
    addends: tuple[str, ...] = ()


def onnx_scores(model: ModelProto) -> list[Scores]:
    """The scores in the main graph of an ONNX model."""
    nodes = []
    for node in model.graph.node:
        plain = node.op_type if node.domain in DOMAINS else ""
        kind = "move" if plain in _ONNX_MOVES else plain.lower()
        axes = [helper.get_attribute_value(each) for each in node.attribute if each.name == "axis"]
        axis = axes[0] if kind == "softmax" and axes else -1
        nodes.append(Node(kind, tuple(node.input), tuple(node.output), axis))
    return find_scores(nodes, [value.name for value in model.graph.output])


def tflite_scores(model: Any) -> list[Scores]:
    """The scores in the main subgraph of a TFLite model."""
    graph = model.subgraphs[0]
    names = [text(tensor.name) for tensor in graph.tensors]
    nodes = []
    for operator in graph.operators:
        kind = operator_name(model, operator)
        kind = "move" if kind in _TFLITE_MOVES else kind.lower()
        inputs = tuple(names[index] for index in operator.inputs if index >= 0)
        nodes.append(Node(kind, inputs, tuple(names[index] for index in operator.outputs)))
    return find_scores(nodes, [names[index] for index in graph.outputs])


def find_scores(nodes: Sequence[Node], outputs: Iterable[str]) -> list[Scores]:
    """All scores of a graph, in its order.

    Args:
        outputs: Tensors that are seen from outside, so that none of their values vanish.
    """
    makers = {name: node for node in nodes for name in node.outputs}
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    seen = set(outputs)

    def is_private(name: str) -> bool:
        return name not in seen and len(readers[name]) == 1

    found = []
    for node in nodes:
        name = node.inputs[0] if node.kind == "softmax" else ""
        if not name or not is_private(name):
            continue
        same = [name]
        while (maker := makers.get(same[-1])) and maker.kind == "move":
            if not is_private(maker.inputs[0]):
                break
            same.append(maker.inputs[0])
        addends = maker.inputs if maker is not None and maker.kind == "add" else ()
        found.append(Scores(name, node.axis, tuple(same), addends))
    sums = {each.same[-1] for each in found if each.addends}

    def only_adds(name: str) -> bool:
        return name not in seen and all(set(each.outputs) & sums for each in readers[name])

    return [
        Scores(each.name, each.axis, each.same, each.addends)
        if all(map(only_adds, each.addends))
        else Scores(each.name, each.axis, each.same)
        for each in found
    ]


@dataclass
class Floors:
    """Takes the largest score of each row, and says where the tensors around may end.

    A row that is hidden as a whole is left out: what is made of it means nothing.
    """

    scores: Sequence[Scores]
    _tops: dict[str, float] = field(default_factory=dict)
    _lows: dict[str, float] = field(default_factory=dict)

    def add(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Takes the tensors of one sample."""
        for each in self.scores:
            for name in (*each.same, *each.addends):
                if name in values and values[name].size:
                    low = float(np.nan_to_num(values[name], nan=np.inf).min())
                    self._lows[name] = min(self._lows.get(name, np.inf), low)
            array = values.get(each.name)
            if array is None or not array.size or not array.ndim:
                continue
            rows = array.max(axis=each.axis)
            rows = rows[rows > _HIDDEN]
            if rows.size:
                top = self._tops.get(each.name, np.inf)
                self._tops[each.name] = min(top, float(rows.min()))

    def floors(self, highs: Mapping[str, float]) -> dict[str, float]:
        """Tensor with values that vanish → where its range has to end, no higher, no lower.

        Args:
            highs: The largest value of each tensor. One that is cut from below at its
                floor, and added to the other addend at its largest, is still vanished.
        """
        floors: dict[str, float] = {}
        unknown = set()
        for each in self.scores:
            floor = self._tops.get(each.name, -np.inf) - VANISHED
            floors |= dict.fromkeys(each.same, floor)
            for name, other in (each.addends, each.addends[::-1]) if each.addends else ():
                if other in highs:
                    floors[name] = min(floors.get(name, np.inf), floor - max(highs[other], 0.0))
                else:
                    unknown.add(name)
        return {
            name: floor
            for name, floor in floors.items()
            if name not in unknown and self._lows.get(name, np.inf) < floor
        }
