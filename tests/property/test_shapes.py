"""Resolving dynamic axes, for all shapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.signature import DeclaredTensor, DType, Signature, TensorSpec, resolve_shapes

AXES = st.lists(st.one_of(st.integers(1, 64), st.sampled_from(["n", "t", "?"])), max_size=5)
SHAPES = st.lists(st.integers(1, 64), max_size=5)


def tensor(shape: list[int | str], name: str = "x") -> DeclaredTensor:
    return DeclaredTensor(name=name, dtype=DType.FLOAT32, shape=tuple(shape))


@given(AXES, SHAPES)
def test_a_given_shape_is_taken_as_it_is_or_refused(
    axes: list[int | str], shape: list[int]
) -> None:
    try:
        resolved = resolve_shapes([tensor(axes)], {"x": shape})
    except EdgeconvError as error:
        assert error.reason is Reason.SHAPE_INVALID
        assert error.violations[0].field == "shapes.x"
    else:
        assert resolved == {"x": tuple(shape)}
        assert all(
            isinstance(axis, str) or axis == size for axis, size in zip(axes, shape, strict=True)
        )


@given(AXES)
def test_without_a_shape_only_the_first_axis_may_be_open(axes: list[int | str]) -> None:
    open_later = [axis for axis in axes[1:] if isinstance(axis, str)]
    try:
        [resolved] = resolve_shapes([tensor(axes)], {}).values()
    except EdgeconvError as error:
        assert error.reason is Reason.DIMENSION_UNKNOWN
        assert open_later
    else:
        assert not open_later
        assert resolved == tuple(1 if isinstance(axis, str) else axis for axis in axes)


def test_one_name_has_one_size_everywhere() -> None:
    declared = [tensor(["n", "t"], "a"), tensor(["n", "t"], "b")]
    assert resolve_shapes(declared, {"a": [2, 7]}) == {"a": (2, 7), "b": (2, 7)}
    with pytest.raises(EdgeconvError, match="'t' has size 7 elsewhere"):
        resolve_shapes(declared, {"a": [2, 7], "b": [2, 8]})


def test_axes_without_a_name_are_independent() -> None:
    assert resolve_shapes([tensor(["?", 3, "?"])], {"x": [1, 3, 9]}) == {"x": (1, 3, 9)}


def test_a_shape_for_no_input_names_the_inputs_there_are() -> None:
    with pytest.raises(EdgeconvError, match="no input 'y'; it has x"):
        resolve_shapes([tensor([1])], {"y": [1]})


NAMES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True)


@given(NAMES, NAMES)
def test_a_signature_differs_by_names_and_order(one: list[str], other: list[str]) -> None:
    def signature(names: list[str]) -> Signature:
        specs = tuple(TensorSpec(name=n, dtype=DType.FLOAT32, shape=(1,)) for n in names)
        return Signature(inputs=specs, outputs=())

    assert bool(signature(one).differences(signature(other))) == (one != other)
