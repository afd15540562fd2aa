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
    sizes: dict[str, set[int]] = {}
    for axis, size in zip(axes, shape, strict=False):
        if isinstance(axis, str) and axis != "?":
            sizes.setdefault(axis, set()).add(size)
    fits = (
        len(axes) == len(shape)
        and all(
            isinstance(axis, str) or axis == size for axis, size in zip(axes, shape, strict=True)
        )
        and all(len(each) == 1 for each in sizes.values())
    )
    if fits:
        assert resolve_shapes([tensor(axes)], {"x": shape}) == {"x": tuple(shape)}
        return
    with pytest.raises(EdgeconvError) as refused:
        resolve_shapes([tensor(axes)], {"x": shape})
    assert refused.value.reason is Reason.SHAPE_INVALID
    assert refused.value.violations[0].field == "shapes.x"


@given(AXES)
def test_without_a_shape_only_the_first_axis_may_be_open(axes: list[int | str]) -> None:
    if any(isinstance(axis, str) for axis in axes[1:]):
        with pytest.raises(EdgeconvError) as refused:
            resolve_shapes([tensor(axes)], {})
        assert refused.value.reason is Reason.DIMENSION_UNKNOWN
    else:
        [resolved] = resolve_shapes([tensor(axes)], {}).values()
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
