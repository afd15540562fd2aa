"""A `.pt2` file that runs in torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch.utils import _pytree

from edgeconv.conversion.intake.foreign_words import first_words
from edgeconv.conversion.intake.pt2.loading import load_program
from edgeconv.recipe.signature import DeclaredTensor, TensorSpec, resolve_shapes
from edgeconv.runtimes.session import refuse


class TorchSource:
    """The saved program itself, on the CPU: not traced, not rewritten.

    Raises:
        EdgeconvError: MODEL_UNREADABLE, MODEL_UNSAFE, SHAPE_INVALID, DIMENSION_UNKNOWN;
            RUNTIME_REFUSED when torch can't make a module of it.
    """

    def __init__(self, path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
        self._loaded = load_program(path)
        resolved = resolve_shapes(self._loaded.inputs, shapes, self._loaded.ranges)
        self.inputs = tuple(
            TensorSpec(name=each.name, dtype=each.dtype, shape=resolved[each.name])
            for each in self._loaded.inputs
        )
        self._file = path.name
        with self._refusals("load"):
            self._module = self._loaded.exported.module(check_guards=False)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `Source`; RUNTIME_REFUSED when torch can't run it."""
        flat = [
            torch.from_numpy(feeds[each.name].copy())
            if isinstance(each, DeclaredTensor)
            else each.value
            for each in self._loaded.arguments
        ]
        structure = self._loaded.exported.call_spec.in_spec
        positional, named = _pytree.tree_unflatten(flat, structure)
        with torch.no_grad(), self._refusals("run"):
            made = _pytree.tree_leaves(self._module(*positional, **named))
        return {
            spec.name: value.contiguous().numpy()
            for spec, value in zip(self._loaded.outputs, made, strict=True)
        }

    @contextmanager
    def _refusals(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Exception as fault:
            # Operators and torch's own passes raise whatever their parts raise on a program
            # that was changed after its export.
            refuse("torch", self._file, doing, first_words(fault))

    def describe(self) -> str:
        """See `Source`."""
        return f"torch {torch.__version__.partition('+')[0]} cpu"
