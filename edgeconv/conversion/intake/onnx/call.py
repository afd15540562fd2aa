"""What a handler sees of the node it computes, and the table of all handlers.

A handler computes one operator with torch. It is called with a `Call` and one value per
ONNX input: a torch tensor where the value is computed at run time, a numpy array where it
is constant, None where it is omitted. It returns a tensor or a tuple of tensors. The same
handler runs eagerly while planning and folding, and on fake tensors under torch.export.

What could be computed wrongly in silence is refused: an attribute that no one read, an
input or output that the handler does not have, an operator version it does not name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeconv.base.errors import EdgeconvError
from edgeconv.conversion.intake.foreign_words import first_words
from edgeconv.conversion.intake.onnx.model import Node, unsupported
from edgeconv.conversion.intake.sizes import LARGEST_BYTES, LONGEST_AXIS, is_too_large

Array = NDArray[Any]
Value = torch.Tensor | Array | None
Results = torch.Tensor | tuple[torch.Tensor, ...]
Handler = Callable[..., Results]
HandlerT = Callable[[Handler], Handler]

_NO_VALUE = object()
_OF_BAD_ARGUMENTS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError,
    RuntimeError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A handler and the versions of the operator that it computes."""

    handler: Handler
    versions: frozenset[int]


HANDLERS: dict[str, list[Entry]] = {}


def operator(name: str, *versions: int) -> HandlerT:
    """Registers a handler for these schema versions of an operator."""

    def register(handler: Handler) -> Handler:
        HANDLERS.setdefault(name, []).append(Entry(handler, frozenset(versions)))
        return handler

    return register


def find_handler(node: Node) -> Handler | None:
    """The handler of a node's operator in its version, if there is one."""
    for entry in HANDLERS.get(node.operator, ()):
        if node.version in entry.versions:
            return entry.handler
    return None


class Call:
    """One node while its handler runs.

    Args:
        node: What is computed.
        materialize: Turns a constant into a tensor; what it gives back is the same
            weight each time the node runs.
    """

    def __init__(self, node: Node, materialize: Callable[[Array], torch.Tensor]) -> None:
        self.node = node
        self._materialize = materialize
        self._read: set[str] = set()

    @property
    def version(self) -> int:
        """The operator's schema version."""
        return self.node.version

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute: the given one, the schema's default, or `default`."""
        self._read.add(name)
        value = self.node.attributes.get(name, _NO_VALUE)
        return default if value is _NO_VALUE else value

    def ignore(self, *names: str) -> None:
        """Says that these attributes change nothing here."""
        self._read.update(names)

    def wants(self, position: int) -> bool:
        """Whether the graph names the output at that position."""
        outputs = self.node.outputs
        return position < len(outputs) and bool(outputs[position])

    def tensor(self, value: Value) -> torch.Tensor:
        """The value as a tensor; a constant becomes a weight of the program."""
        if isinstance(value, torch.Tensor):
            return value
        if value is None:
            raise self.refused("a required input is omitted")
        return self._materialize(value)

    def operand(self, value: Value, other: Value) -> torch.Tensor | float | int:
        """As `tensor`, but a one-element constant beside a tensor becomes a number.

        Converters wrap a tensor of one element in transposes; a number costs nothing.
        """
        if (
            isinstance(value, np.ndarray)
            and isinstance(other, torch.Tensor)
            and value.size == 1
            and value.ndim <= other.ndim
            and value.dtype.kind in "fiu"
        ):
            number: float | int = value.reshape(()).item()
            return number
        return self.tensor(value)

    def constant(self, value: Value, what: str) -> Array:
        """A value that must be known before run time.

        Raises:
            EdgeconvError: OPERATOR_UNSUPPORTED when it is computed at run time.
        """
        if not isinstance(value, np.ndarray):
            raise self.refused(f"its {what} is not a constant")
        return value

    def ints(self, value: Value, what: str) -> list[int]:
        """A constant list of integers."""
        return [int(each) for each in self.constant(value, what).reshape(-1)]

    def number(self, value: Value, what: str) -> float:
        """A constant number."""
        array = self.constant(value, what)
        if array.size != 1:
            raise self.refused(f"its {what} is not one number")
        return float(array.reshape(()).item())

    def parameter(self, name: str, value: Value) -> list[int] | None:
        """A list that is an attribute in old versions and a constant input in new ones."""
        given = self.attr(name)
        if given is not None:
            return [int(each) for each in given]
        return None if value is None else self.ints(value, name)

    def length(self, size: int) -> int:
        """A length that a value of the model gives to an axis.

        Raises:
            EdgeconvError: OPERATOR_UNSUPPORTED when no tensor could have it.
        """
        if not 0 <= size <= LONGEST_AXIS:
            raise self.refused(f"it makes an axis of {size} elements")
        return size

    def refused(self, why: str) -> EdgeconvError:
        """The error for this node."""
        return unsupported(self.node.name, self.node.operator, why)

    def run(self, handler: Handler, values: Sequence[Value]) -> tuple[torch.Tensor, ...]:
        """Calls the handler and checks that nothing of the node was left out.

        Raises:
            EdgeconvError: OPERATOR_UNSUPPORTED.
        """
        try:
            results = handler(self, *values)
        except _OF_BAD_ARGUMENTS as error:
            raise self.refused(f"it can't be computed ({first_words(error)})") from error
        made = results if isinstance(results, tuple) else (results,)
        for tensor in made:
            if is_too_large(tensor.shape, tensor.element_size()):
                large = f"{list(tensor.shape)[:12]} of more than {LARGEST_BYTES >> 30} GiB"
                raise self.refused(f"it makes a tensor {large}")
        unread = set(self.node.attributes) - self._read
        if unread:
            raise self.refused(f"its attribute {min(unread)!r} is not supported")
        named = [place for place, name in enumerate(self.node.outputs) if name]
        if named and named[-1] >= len(made):
            raise self.refused(f"its output {named[-1]} is not supported")
        return made


def normal_axis(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis + rank if axis < 0 else axis
