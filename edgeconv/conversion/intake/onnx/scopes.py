"""Names of tensors: a subgraph's own are its own, and get one of the whole model's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self


class Scope:
    """What the names mean at one place of a graph, while its nodes are read in order.

    ONNX lets two subgraphs give the same name to different tensors, and lets a graph use a
    name that stands in a subgraph before. Names of the main graph stay as they are; a
    subgraph's get the path of its node before them and, where that is a name already, a
    number behind.
    """

    def __init__(self, main: Iterable[str]) -> None:
        """The main graph's scope; `main` are all names that it gives to tensors."""
        self._prefix = ""
        self._taken = set(main)
        self._names = {"": ""}

    def inside(self, prefix: str) -> Self:
        """The scope of a subgraph here: it sees what is known so far."""
        inner = type(self)(())
        inner._prefix = prefix
        inner._taken = self._taken
        inner._names = dict(self._names)
        return inner

    def add(self, name: str) -> str:
        """A tensor that is made here; gives its name in the whole model."""
        if name and self._prefix:
            self._names[name] = self._unused(f"{self._prefix}{name}")
        else:
            self._names[name] = name
        return self._names[name]

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> str:
        return self._names[name]

    def _unused(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}#{number}"
        self._taken.add(name)
        return name
