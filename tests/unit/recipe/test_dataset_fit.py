"""Whether a dataset fits a model, from what both declare."""

from __future__ import annotations

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.recipe.dataset_fit import check_fit, unread_arrays
from edgeconv.recipe.inspection import DatasetInspection
from edgeconv.recipe.signature import DeclaredTensor, DType

_INPUTS = [
    DeclaredTensor(name="image", dtype=DType.FLOAT32, shape=("batch", 3, 8, "width")),
    DeclaredTensor(name="ids", dtype=DType.INT64, shape=(16,)),
]


def _dataset(**arrays: tuple[str, tuple[int, ...]]) -> DatasetInspection:
    return DatasetInspection(
        arrays=tuple(
            DeclaredTensor(name=name, dtype=DType(dtype), shape=shape)
            for name, (dtype, shape) in arrays.items()
        ),
        samples=5,
    )


@pytest.mark.parametrize(
    "image", [(5, 3, 8, 20), (5, 1, 3, 8, 20), (5, 4, 3, 8, 20)], ids=["sample axis", "1", "batch"]
)
def test_arrays_that_fit_pass(image: tuple[int, ...]) -> None:
    check_fit(_dataset(image=("float32", image), ids=("int64", (5, 16))), _INPUTS)


def test_labels_and_other_arrays_do_not_matter() -> None:
    dataset = _dataset(
        image=("float32", (5, 3, 8, 9)), ids=("int64", (5, 16)), label=("int64", (5,)),
        more=("bool", (5,)),
    )  # fmt: skip
    check_fit(dataset, _INPUTS)


@pytest.mark.parametrize(
    ("arrays", "field", "words"),
    [
        ({"ids": ("int64", (5, 16))}, "image", "no array for it; it has ids"),
        (
            {"image": ("float64", (5, 3, 8, 9)), "ids": ("int64", (5, 16))},
            "image", "is float64, not float32",
        ),
        (
            {"image": ("float32", (5, 4, 8, 9)), "ids": ("int64", (5, 16))},
            "image", "[samples, batch, 3, 8, width]",
        ),
        (
            {"image": ("float32", (5, 3, 8, 9)), "ids": ("int64", (5, 1, 16))},
            "ids", "has shape [5, 1, 16]",
        ),
        (
            {"image": ("float32", (5, 3, 8, 9)), "ids": ("int64", (4, 16))},
            "ids", "there are 4, and 5 of 'image'",
        ),
        (
            {"image": ("float32", (5, 3, 8, 9)), "ids": ("int64", (5, 16)),
             "label": ("int64", (6,))},
            "label", "there are 6, and 5 of 'image'",
        ),
        (
            {"image": ("float32", (0, 3, 8, 9)), "ids": ("int64", (0, 16))},
            "image", "there are no samples",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    arrays: dict[str, tuple[str, tuple[int, ...]]], field: str, words: str
) -> None:
    with pytest.raises(EdgeconvError) as caught:
        check_fit(_dataset(**arrays), _INPUTS)
    assert caught.value.reason is Reason.DATASET_MISMATCH
    assert [violation.field for violation in caught.value.violations] == [field]
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("image", "fix"),
    [
        ("float64", "Write array 'image' with .astype(np.float32)."),
        ("", "Name the arrays as the model names its inputs: 'image', 'ids'."),
        ("float32", "Give an npz with one array per input of the model, samples first."),
    ],
)
def test_the_fix_is_of_what_is_wrong(image: str, fix: str) -> None:
    named = {"image": (image, (5, 3, 9, 9))} if image else {}
    with pytest.raises(EdgeconvError) as caught:
        check_fit(_dataset(**named, ids=("int64", (5, 16))), _INPUTS)
    assert caught.value.fix == fix


def test_known_shapes_close_open_axes() -> None:
    dataset = _dataset(image=("float32", (5, 3, 8, 20)), ids=("int64", (5, 16)))
    check_fit(dataset, _INPUTS, {"image": (1, 3, 8, 20), "ids": (16,)})
    with pytest.raises(EdgeconvError, match="image"):
        check_fit(dataset, _INPUTS, {"image": (1, 3, 8, 21), "ids": (16,)})
    # With a batch of four, an array per sample can't stand for it.
    with pytest.raises(EdgeconvError, match="image"):
        check_fit(dataset, _INPUTS, {"image": (4, 3, 8, 20), "ids": (16,)})


def test_arrays_that_nothing_reads_are_told() -> None:
    dataset = _dataset(
        image=("float32", (5, 3, 8, 20)), ids=("int64", (5, 16)), label=("int64", (5,)),
        labels=("int64", (5,)), extra=("float32", (5, 2)),
    )  # fmt: skip
    assert unread_arrays(dataset, _INPUTS) == ["labels", "extra"]
