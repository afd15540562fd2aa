"""One dataset split in two: disjoint, whole, a quarter, of each class alike, always the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeconv.conversion.evaluation import absent_notes
from edgeconv.conversion.samples import Samples
from edgeconv.conversion.split import calibration_places

LABELS = st.lists(st.integers(-3, 12), min_size=2, max_size=200).map(np.array)


def numbered(labels: NDArray[Any] | None, count: int) -> Samples:
    return Samples({"x": np.arange(count)}, labels, "dataset")


def parts(labels: NDArray[Any]) -> tuple[Samples, Samples]:
    whole = numbered(labels, len(labels))
    return whole.split("calibration"), whole.split("held-out")


def labels_of(samples: Samples) -> NDArray[Any]:
    assert samples.labels is not None
    return samples.labels


@pytest.mark.parametrize("classes", [2, 4, 8, 10])
@pytest.mark.parametrize("ordered", ["in turn", "one after another"])
def test_classes_in_any_order_are_a_quarter_each(classes: int, ordered: str) -> None:
    labels = np.arange(1000) % classes
    calibration, held_out = parts(labels if ordered == "in turn" else np.sort(labels))
    assert len(calibration) == 250
    sizes = np.bincount(labels)
    assert np.all(np.abs(np.bincount(labels_of(calibration), minlength=classes) - sizes / 4) <= 1)
    assert np.all(np.abs(np.bincount(labels_of(held_out)) - sizes * 3 / 4) <= 1)


@given(LABELS)
def test_the_parts_share_nothing_and_are_the_whole_in_its_order(labels: NDArray[Any]) -> None:
    calibration, held_out = parts(labels)
    taken, kept = calibration.inputs["x"], held_out.inputs["x"]
    assert sorted([*taken, *kept]) == list(range(len(labels)))
    for places, part in ((taken, calibration), (kept, held_out)):
        assert len(part)
        assert np.all(np.diff(places) > 0)
        np.testing.assert_array_equal(labels_of(part), labels[places])


@given(LABELS)
def test_a_class_of_two_is_in_both_parts_and_others_are_named(labels: NDArray[Any]) -> None:
    found, sizes = np.unique(labels, return_counts=True)
    alone = set(found[sizes == 1].tolist())
    for part in parts(labels):
        assert set(part.absent) == set(found.tolist()) - set(labels_of(part).tolist())
        assert set(part.absent) <= alone


@given(LABELS)
def test_each_class_gives_about_a_quarter(labels: NDArray[Any]) -> None:
    calibration, _ = parts(labels)
    found, sizes = np.unique(labels, return_counts=True)
    taken = np.array([np.sum(labels_of(calibration) == each) for each in found])
    least = -(-len(labels) // 4)
    assert least <= len(calibration) <= least + np.sum((sizes == 2) | (sizes == 3))
    assert np.all(np.abs(taken - sizes / 4) < 1)


@given(LABELS)
def test_the_names_of_the_classes_and_their_dtype_do_not_matter(labels: NDArray[Any]) -> None:
    places = calibration_places(len(labels), labels)
    np.testing.assert_array_equal(places, calibration_places(len(labels), labels * 7 + 100))
    column = labels.astype(np.int16)[:, np.newaxis]
    np.testing.assert_array_equal(places, calibration_places(len(labels), column))


@pytest.mark.parametrize(
    "labels",
    [None, np.arange(40.0) % 2, np.arange(80).reshape(40, 2)],
    ids=["none", "floats", "several a sample"],
)
def test_where_there_are_no_classes_a_quarter_is_drawn_from_all(labels: Any) -> None:
    whole = numbered(labels, 40)
    calibration = whole.split("calibration")
    places = calibration.inputs["x"]
    assert len(places) == 10
    assert len(whole.split("held-out")) == 30
    # No stride: data that repeat with any short period are not cut along it.
    assert all(len(set((places % period).tolist())) > 1 for period in range(2, 9))
    assert calibration.absent == ()


def test_the_places_are_the_same_on_each_machine() -> None:
    assert calibration_places(12, None).tolist() == [0, 3, 6]
    assert calibration_places(12, np.arange(12) % 2).tolist() == [0, 7, 8]


def test_one_sample_and_all_samples_are_not_split() -> None:
    whole = numbered(np.array([0, 1]), 2)
    assert whole.split("all") is whole
    alone = numbered(np.array([3]), 1)
    assert len(alone.split("calibration")) == len(alone.split("held-out")) == 1


def test_what_a_part_lacks_is_said() -> None:
    labels = np.array([0] * 10 + [1] * 10 + [7])
    calibration, held_out = parts(labels)
    (lacking,) = [part for part in (calibration, held_out) if part.absent]
    assert lacking.absent == (7,)
    (note,) = absent_notes(lacking, "calibrates")
    assert note.kind == "info"
    assert note.message.startswith("No sample of class 7 calibrates:")
    whole = numbered(labels, len(labels))
    assert absent_notes(whole, "calibrates") == []


def test_many_absent_classes_are_counted() -> None:
    calibration, _ = parts(np.arange(100))
    (note,) = absent_notes(calibration, "calibrates")
    assert "and 67 more" in note.message
