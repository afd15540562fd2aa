"""A `.pt2` file that runs in torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch.export.graph_signature import InputKind

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.signature import DType, TensorSpec


class TorchSource:
    """An exported program on the CPU; outputs are called output_0, output_1, …"""

    def __init__(self, folder: Path, shapes: Mapping[str, Sequence[int]]) -> None:
        files = sorted(folder.glob("*.pt2"))
        if len(files) != 1:
            raise EdgeconvError(
                Reason.MODEL_UNREADABLE, f"A model is one .pt2 file, not {len(files)} of them."
            )
        exported = torch.export.load(files[0])
        values = {
            node.name: node.meta["val"] for node in exported.graph.nodes if "val" in node.meta
        }
        names = [
            spec.arg.name
            for spec in exported.graph_signature.input_specs
            if spec.kind is InputKind.USER_INPUT
        ]
        self.inputs = tuple(
            TensorSpec(
                name=name,
                dtype=DType(str(values[name].dtype).removeprefix("torch.")),
                shape=tuple(shapes[name] if name in shapes else map(int, values[name].shape)),
            )
            for name in names
        )
        self._tree = exported.call_spec.in_spec
        self._module = exported.module(check_guards=False)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `Source`."""
        flat = [torch.from_numpy(feeds[spec.name]) for spec in self.inputs]
        positional, named = torch.utils._pytree.tree_unflatten(flat, self._tree)
        with torch.no_grad():
            made = torch.utils._pytree.tree_leaves(self._module(*positional, **named))
        return {f"output_{index}": each.numpy() for index, each in enumerate(made)}

    def describe(self) -> str:
        """See `Source`."""
        return f"torch {torch.__version__.partition('+')[0]} cpu"
