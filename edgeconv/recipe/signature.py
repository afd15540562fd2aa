"""The signature: the user's names, order, dtypes and shapes, which no step may change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason


class DType(StrEnum):
    """Element types by their numpy names."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    BOOL = "bool"

    @property
    def is_floating(self) -> bool:
        """Whether it is a floating-point type."""
        return "float" in self.value


class TensorSpec(BaseModel):
    """An input or output: name, element type and static shape."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: DType
    shape: tuple[int, ...]


class Signature(BaseModel):
    """Inputs and outputs in the user's order. Layout is the source's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def differences(self, other: Self) -> list[str]:
        """What sets `other` apart, a sentence each; empty when they are the same."""
        return [
            *_differences("input", self.inputs, other.inputs),
            *_differences("output", self.outputs, other.outputs),
        ]


class DeclaredTensor(BaseModel):
    """An input or output as a source declares it.

    A string in `shape` names a dynamic axis; "?" is one without a name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    dtype: DType
    shape: tuple[int | str, ...]


class SizeRange(BaseModel):
    """The sizes that an open axis takes.

    Attributes:
        most: None without a bound.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    least: int = Field(ge=0, lt=2**63)
    most: int | None = Field(default=None, ge=0, lt=2**63)

    def __contains__(self, size: int) -> bool:
        return self.least <= size and (self.most is None or size <= self.most)

    def __str__(self) -> str:
        return f"{self.least} {'and more' if self.most is None else f'to {self.most}'}"


def shape_to_give(tensor: DeclaredTensor) -> str:
    """The pattern for an input's whole shape: "image=1,3,SIZE,SIZE".

    An open first axis is one sample; another one needs a size.
    """
    sizes = [
        str(size) if isinstance(size, int) and size > 0 else "SIZE" if axis else "1"
        for axis, size in enumerate(tensor.shape)
    ]
    return f"{tensor.name}={','.join(sizes)}"


def resolve_shapes(
    declared: Sequence[DeclaredTensor],
    given: Mapping[str, Sequence[int]],
    ranges: Mapping[str, SizeRange] | None = None,
) -> dict[str, tuple[int, ...]]:
    """The static shape of every declared input.

    Args:
        declared: The model's inputs; an axis that is a string or below 1 is dynamic.
        given: Whole shapes by input name; they must agree with all static axes. One name
            of a dynamic axis has one size everywhere. An axis in position 0 that is
            left open becomes 1 (one sample).
        ranges: Name of a dynamic axis → the sizes that the model takes there.

    Raises:
        EdgeconvError: SHAPE_INVALID for a given shape that does not fit or names no
            input, and for a size out of its axis' range; DIMENSION_UNKNOWN for an open
            axis that is not the first.
    """
    names = [tensor.name for tensor in declared]
    for name in given:
        if name not in names:
            _refuse_shape(name, f"the model has no input {name!r}; it has {', '.join(names)}")
    sizes: dict[str, int] = {}
    for tensor in declared:
        if tensor.name in given:
            _match_shape(tensor, tuple(given[tensor.name]), sizes)
    resolved = {tensor.name: _close_shape(tensor, given, sizes) for tensor in declared}
    for tensor in declared:
        _check_ranges(tensor, resolved[tensor.name], ranges or {})
    return resolved


def _match_shape(tensor: DeclaredTensor, given: tuple[int, ...], sizes: dict[str, int]) -> None:
    if len(given) != len(tensor.shape):
        _refuse_shape(tensor.name, f"it has {len(tensor.shape)} axes, not {len(given)}")
    for axis, (want, have) in enumerate(zip(tensor.shape, given, strict=True)):
        if have < 1:
            _refuse_shape(tensor.name, f"axis {axis} can't have size {have}")
        if want == "?":
            continue
        if isinstance(want, str):
            if sizes.setdefault(want, have) != have:
                _refuse_shape(tensor.name, f"axis {want!r} has size {sizes[want]} elsewhere")
        elif want > 0 and want != have:
            _refuse_shape(tensor.name, f"axis {axis} has size {want}, not {have}")


def _close_shape(
    tensor: DeclaredTensor, given: Mapping[str, Sequence[int]], sizes: Mapping[str, int]
) -> tuple[int, ...]:
    if tensor.name in given:
        return tuple(given[tensor.name])
    shape: list[int] = []
    for axis, size in enumerate(tensor.shape):
        known = sizes.get(size, 0) if isinstance(size, str) else size
        if known < 1 and axis > 0:
            written = ",".join(str(each) for each in tensor.shape)
            raise EdgeconvError(
                Reason.DIMENSION_UNKNOWN,
                f"Axis {axis} ({size!r}) of input {tensor.name!r} has no size: [{written}].",
                fix=f"Give the whole shape: --shape {shape_to_give(tensor)}",
                violations=[FieldViolation(f"shapes.{tensor.name}", f"axis {axis} is dynamic")],
                input=tensor.name,
                axis=axis,
            )
        shape.append(known if known >= 1 else 1)
    return tuple(shape)


def _check_ranges(
    tensor: DeclaredTensor, shape: tuple[int, ...], ranges: Mapping[str, SizeRange]
) -> None:
    for axis, (declared, size) in enumerate(zip(tensor.shape, shape, strict=True)):
        takes = ranges.get(str(declared))
        if takes is not None and size not in takes:
            message = f"axis {axis} was exported for {takes}, not {size}"
            raise EdgeconvError(
                Reason.SHAPE_INVALID,
                f"The shape of input {tensor.name!r} does not fit: {message}.",
                fix=f"Give the whole shape: --shape {shape_to_give(tensor)}",
                violations=[FieldViolation(f"shapes.{tensor.name}", message)],
                input=tensor.name,
                axis=axis,
            )


def _refuse_shape(name: str, message: str) -> None:
    raise EdgeconvError(
        Reason.SHAPE_INVALID,
        f"The shape given for input {name!r} does not fit: {message}.",
        violations=[FieldViolation(f"shapes.{name}", message)],
        input=name,
    )


def _differences(role: str, want: Sequence[TensorSpec], have: Sequence[TensorSpec]) -> list[str]:
    if [tensor.name for tensor in want] != [tensor.name for tensor in have]:
        return [
            f"{role}s are [{', '.join(t.name for t in have)}],"
            f" not [{', '.join(t.name for t in want)}]"
        ]
    found = []
    for expected, got in zip(want, have, strict=True):
        if expected.dtype != got.dtype:
            found.append(f"{role} {got.name!r} is {got.dtype}, not {expected.dtype}")
        if expected.shape != got.shape:
            found.append(f"{role} {got.name!r} has shape {got.shape}, not {expected.shape}")
    return found
