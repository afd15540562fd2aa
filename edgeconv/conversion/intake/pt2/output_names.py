"""Names of a program's outputs, from the keys of what it returns."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from typing import Any

from torch.utils import _pytree

NAMELESS = "Outputs have no names in the file; they are called output_0, output_1, …."


def output_names(
    structure: _pytree.TreeSpec, inputs: Collection[str]
) -> tuple[list[str], list[str]]:
    """A name for each leaf, in order, and what is to be said of them, sentences.

    `{"scores": s, "boxes": [b, c]}` gives scores, boxes_0, boxes_1, joined as torch joins
    the names of inputs. A leaf on whose way is no key that is text is called output_{place}.

    Args:
        structure: Of what the program returns.
        inputs: Names that no output may have.
    """
    leaves = _pytree.tree_unflatten(list(range(structure.num_leaves)), structure)
    paths = [path for path, _ in _pytree.tree_flatten_with_path(leaves)[0]]
    names: list[str] = []
    notes: list[str] = []
    for place, path in enumerate(paths):
        parts = [_part(step) for step in path]
        joined = _joined(parts)
        name = _unused(joined or f"output_{place}", {*names, *inputs})
        names.append(name)
        if any(isinstance(part, str) for part in parts) and name != "_".join(map(str, parts)):
            notes.append(f"Output {_pytree.keystr(path)} is called {name!r}.")
    if not any(isinstance(_part(step), str) for path in paths for step in path):
        notes.append(NAMELESS)
    return names, notes


def _part(step: Any) -> object:
    """The key, field or place that a step of a path goes to."""
    for attribute in ("key", "name", "idx"):
        if hasattr(step, attribute):
            return getattr(step, attribute)
    return str(step)


def _joined(parts: list[object]) -> str:
    """Empty where no part is text with a letter or digit in it."""
    words = [re.sub(r"\W", "_", str(part), flags=re.ASCII) for part in parts]
    told = any(
        isinstance(part, str) and word.strip("_") for part, word in zip(parts, words, strict=True)
    )
    stem = [] if parts and isinstance(parts[0], str) else ["output"]
    return "_".join([*stem, *words]) if told else ""


def _unused(name: str, taken: Collection[str]) -> str:
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)
