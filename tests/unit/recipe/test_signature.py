"""Signatures: what differs between two, and shapes that can't be."""

from __future__ import annotations

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.signature import (
    DeclaredTensor,
    DType,
    Signature,
    SizeRange,
    TensorSpec,
    resolve_shapes,
    shape_to_give,
)


def spec(
    name: str = "x", dtype: DType = DType.FLOAT32, shape: tuple[int, ...] = (1, 3)
) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def declared(*shape: int | str) -> DeclaredTensor:
    return DeclaredTensor(name="x", dtype=DType.FLOAT32, shape=shape)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (spec(shape=(1, 4)), ("shape", "(1, 4)", "(1, 3)")),
        (spec(shape=(1, 3, 1)), ("shape", "(1, 3, 1)")),
        (spec(dtype=DType.INT8), ("int8", "float32")),
        (spec("y"), ("[y]", "[x]")),
    ],
)
@pytest.mark.parametrize("role", ["inputs", "outputs"])
def test_each_difference_is_said_in_words(role: str, other: TensorSpec, words: tuple[str]) -> None:
    both = {"inputs": (spec(),), "outputs": (spec(),)}
    one = Signature(**both)
    (told,) = one.differences(Signature(**{**both, role: (other,)}))
    assert told.startswith(role.removesuffix("s"))
    for word in words:
        assert word in told
    assert one.differences(one) == []


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.parametrize("axis", ["n", "?", 3, 0, -1])
def test_a_size_below_one_is_refused(axis: int | str, size: int) -> None:
    with pytest.raises(EdgeconvError, match=f"axis 1 can't have size {size}") as refused:
        resolve_shapes([declared(1, axis)], {"x": (1, size)})
    assert refused.value.reason is Reason.SHAPE_INVALID


@pytest.mark.parametrize("open_axis", [0, -1, -7, "n", "?"])
def test_an_axis_below_one_is_as_open_as_one_with_a_name(open_axis: int | str) -> None:
    assert resolve_shapes([declared(open_axis, 3)], {}) == {"x": (1, 3)}
    assert resolve_shapes([declared(open_axis, 3)], {"x": (8, 3)}) == {"x": (8, 3)}
    assert resolve_shapes([declared(1, open_axis)], {"x": (1, 1)}) == {"x": (1, 1)}
    with pytest.raises(EdgeconvError) as refused:
        resolve_shapes([declared(1, open_axis)], {})
    assert refused.value.reason is Reason.DIMENSION_UNKNOWN
    assert refused.value.metadata["axis"] == "1"


def test_a_known_size_of_two_and_more_is_kept_in_the_first_place_too() -> None:
    assert resolve_shapes([declared(2, 3)], {}) == {"x": (2, 3)}
    assert resolve_shapes([declared(1, 3)], {}) == {"x": (1, 3)}


def test_a_static_axis_of_one_is_held_to_one() -> None:
    with pytest.raises(EdgeconvError, match="axis 0 has size 1, not 2"):
        resolve_shapes([declared(1, 3)], {"x": (2, 3)})


def test_what_to_give_is_shown_with_the_sizes_that_are_known() -> None:
    assert shape_to_give(declared("n", 3, "h", -1)) == "x=1,3,SIZE,SIZE"
    assert shape_to_give(declared(4, 0)) == "x=4,SIZE"


@pytest.mark.parametrize("dtype", list(DType), ids=str)
def test_float_types_are_those_with_float_in_their_name(dtype: DType) -> None:
    assert dtype.is_floating == ("float" in dtype.value)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((0, 3), "size 0"), ((65, 8), "axis 0 .* for 1 to 64, not 65"), ((1, 7), "8 and more, not 7")],
)
def test_a_size_out_of_an_axis_range_is_refused(shape: tuple[int, int], words: str) -> None:
    ranges = {"n": SizeRange(least=1, most=64), "w": SizeRange(least=8)}
    tensor = declared("n", "w")
    for fits in ((1, 8), (64, 10**9)):
        assert resolve_shapes([tensor], {"x": fits}, ranges) == {"x": fits}
    with pytest.raises(EdgeconvError, match=words) as refused:
        resolve_shapes([tensor], {"x": shape}, ranges)
    assert refused.value.reason is Reason.SHAPE_INVALID
    assert [each.field for each in refused.value.violations] == ["shapes.x"]


def test_one_sample_is_no_default_where_the_range_begins_later() -> None:
    with pytest.raises(EdgeconvError, match="for 4 to 9, not 1") as refused:
        resolve_shapes([declared("n", 3)], {}, {"n": SizeRange(least=4, most=9)})
    assert refused.value.metadata["axis"] == "0"
    assert "--shape x=" in refused.value.fix
