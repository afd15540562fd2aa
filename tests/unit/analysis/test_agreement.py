"""How far outputs agree: figures by hand, and properties that must always hold."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeconv.analysis.agreement import (
    OutputComparison,
    accuracy,
    argmax_agreement,
    centred_snr_db,
    compare,
    equal_share,
    max_abs_error,
)
from edgeconv.base.quantities import MOST_DB

VALUES = st.floats(-100, 100, width=32)
OUTPUTS = arrays.arrays(
    np.float32, st.tuples(st.integers(2, 6), st.integers(1, 5)), elements=VALUES
)


def test_the_ratio_by_hand() -> None:
    # Around their mean of 1 the references vary by 1 + 1; the errors are 0.1 each.
    reference = np.array([[0.0], [2.0]])
    got = np.array([[0.1], [1.9]])
    assert centred_snr_db(reference, got) == pytest.approx(10 * math.log10(2 / 0.02))


def test_a_constant_beside_the_signal_does_not_raise_the_ratio() -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((16, 4))
    got = reference + 0.01 * rng.standard_normal((16, 4))
    plain = centred_snr_db(reference, got)
    assert plain is not None
    assert centred_snr_db(reference + 1000, got + 1000) == pytest.approx(plain, abs=1e-6)


def test_an_output_that_does_not_vary_has_no_ratio() -> None:
    reference = np.full((16, 3), 7.0)
    assert centred_snr_db(reference, reference + 0.5) is None
    assert max_abs_error(reference, reference + 0.5) == 0.5


def test_one_sample_has_no_ratio() -> None:
    assert centred_snr_db(np.ones((1, 3)), np.zeros((1, 3))) is None


def test_equal_outputs_have_the_largest_ratio_which_is_finite() -> None:
    reference = np.arange(8.0).reshape(4, 2)
    assert centred_snr_db(reference, reference) == MOST_DB


@given(OUTPUTS, st.integers(0, 2**32 - 1))
def test_samples_one_by_one_give_what_numpy_gives_at_once(
    reference: NDArray[np.float32], seed: int
) -> None:
    got = reference + np.random.default_rng(seed).standard_normal(reference.shape)
    exact = reference.astype(np.float64)
    spread = float(np.sum((exact - exact.mean(axis=0)) ** 2))
    assume(spread > 1e-6 * (1 + float(np.sum(exact**2))))
    noise = float(np.sum((exact - got) ** 2))
    snr = centred_snr_db(reference, got)
    assert snr == pytest.approx(10 * math.log10(spread / noise), abs=1e-6)


@given(OUTPUTS, st.floats(0.25, 4))
def test_the_ratio_has_no_unit(reference: NDArray[np.float32], scale: float) -> None:
    got = reference + np.float32(0.5)
    plain = centred_snr_db(reference.astype(np.float64), got.astype(np.float64))
    scaled = centred_snr_db(scale * reference.astype(np.float64), scale * got.astype(np.float64))
    assert (plain is None) == (scaled is None)
    if plain is not None and scaled is not None:
        assert scaled == pytest.approx(plain, abs=1e-6)


def test_nan_where_the_source_has_a_number_is_not_finite() -> None:
    reference = np.array([[1.0, 2.0], [3.0, 4.0]])
    got = reference.copy()
    got[1, 0] = np.nan
    assert not compare(reference, got).finite
    got[1, 0] = np.inf
    assert not compare(reference, got).finite


def test_the_same_infinity_on_both_sides_agrees() -> None:
    reference = np.array([[1.0, np.inf, -np.inf, np.nan], [3.0, np.inf, -np.inf, np.nan]])
    comparison = compare(reference, reference.copy())
    assert comparison.finite
    assert comparison.max_abs_error == 0
    assert comparison.max_abs_reference == 3
    flipped = reference.copy()
    flipped[0, 1] = -np.inf
    assert not compare(reference, flipped).finite


@pytest.mark.parametrize(
    ("reference", "got"),
    [
        (np.inf, 7.0), (-np.inf, 7.0), (np.nan, 7.0), (np.inf, -np.inf), (np.inf, np.nan),
        (np.nan, np.inf), (7.0, np.inf), (7.0, np.nan), (-np.inf, -65504.0), (np.inf, 3.4e38),
        (-3.4e38, -np.inf),
    ],
)  # fmt: skip
def test_what_is_finite_on_one_side_only_does_not_agree(reference: float, got: float) -> None:
    expected = np.array([[1.0, reference], [3.0, 2.0]])
    found = np.array([[1.0, got], [3.0, 2.0]])
    assert not compare(expected, found).finite


def test_the_lowest_number_stands_for_minus_infinity_and_is_counted() -> None:
    reference = np.array([[1.0, -np.inf, -np.inf], [3.0, -np.inf, 0.0]])
    got = np.array([[1.0, -3.4e38, -np.inf], [3.0, -3e38, 0.0]])
    comparison = compare(reference, got)
    assert comparison.finite
    assert comparison.lowest_for_infinity == 2
    assert comparison.max_abs_error == 0


def test_nan_in_the_reference_is_counted() -> None:
    reference = np.array([[1.0, np.nan], [np.nan, 2.0]])
    assert compare(reference, reference).reference_nans == 2
    assert compare(np.zeros((2, 2)), reference).reference_nans == 0


def test_integers_are_compared_for_equality() -> None:
    reference, got = np.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 5]])
    assert equal_share(reference, got) == 0.75
    assert centred_snr_db(reference, got) is None
    assert equal_share(np.array([[True], [False]]), np.array([[True], [True]])) == 0.5


def test_outputs_without_elements_agree() -> None:
    assert equal_share(np.zeros((2, 0), np.int64), np.zeros((2, 0), np.int64)) == 1


def test_argmax_counts_rows_along_the_last_axis() -> None:
    reference = np.array([[[0, 1], [1, 0]], [[0, 1], [0, 1]]], np.float32)
    got = np.array([[[0, 1], [0, 1]], [[0, 1], [0, 1]]], np.float32)
    assert argmax_agreement(reference, got) == 0.75
    assert argmax_agreement(np.zeros((2, 3, 1)), np.zeros((2, 3, 1))) is None


def test_any_of_several_largest_elements_is_the_largest() -> None:
    reference = np.array([[1.0, 3.0, 3.0 + 1e-7, 2.0], [5.0, 4.0, -1e9, -np.inf]])
    got = np.array([[1.0, 3.0 + 1e-7, 3.0, 2.0], [5.0, 4.0, -1e9, -np.inf]])
    assert argmax_agreement(reference, got) == 1.0
    got[1, 1] = 6
    assert argmax_agreement(reference, got) == 0.5
    assert argmax_agreement(np.array([[7, 7, 1]]), np.array([[7, 8, 1]])) == 1.0
    assert argmax_agreement(np.array([[7, 6, 1]]), np.array([[7, 8, 1]])) == 0.0


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        compare(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="differ"):
        OutputComparison(is_floating=True).add(np.zeros((1, 3)), np.zeros(3))


@pytest.mark.parametrize("axes", [(4, 3), (4, 1, 3)])
def test_accuracy_leaves_out_axes_of_one(axes: tuple[int, ...]) -> None:
    scores = np.eye(3)[[0, 1, 2, 0]].reshape(axes)
    assert accuracy(scores, np.array([0, 1, 2, 1])) == 0.75


@pytest.mark.parametrize("axes", [(4,), (4, 1), (4, 2, 3)])
def test_accuracy_of_what_are_no_scores_is_refused(axes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"don't fit|hold no classes"):
        accuracy(np.zeros(axes), np.zeros(4, np.int64))


SCORES_OF_TWO = np.array([[0.1, 0.7, 0.2], [0.8, 0.1, 0.1]])


def test_accuracy_reads_one_hot_labels() -> None:
    assert accuracy(SCORES_OF_TWO, np.array([[0, 1, 0], [0, 0, 1]])) == 0.5
    assert accuracy(SCORES_OF_TWO[:, np.newaxis], np.array([[0, 1, 0], [1, 0, 0]])) == 1.0
    with pytest.raises(ValueError, match="one-hot"):
        accuracy(SCORES_OF_TWO, np.array([[0, 1, 1], [0, 0, 1]]))


@pytest.mark.parametrize("labels", [[0.25, 1.0], [1.0, 0.5], [np.nan, 0.0]])
def test_labels_that_are_no_whole_numbers_are_refused(labels: list[float]) -> None:
    with pytest.raises(ValueError, match=r"(0\.25|0\.5|nan) is no whole number; give the number"):
        accuracy(SCORES_OF_TWO, np.array(labels))


def test_soft_labels_are_no_one_hot_ones() -> None:
    with pytest.raises(ValueError, match="one-hot labels"):
        accuracy(SCORES_OF_TWO, np.array([[0.1, 0.8, 0.1], [0.0, 0.0, 1.0]]))


def test_floats_that_are_whole_count_as_labels() -> None:
    numbers, one_hot = np.array([1.0, 0.0]), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert accuracy(SCORES_OF_TWO, numbers) == accuracy(SCORES_OF_TWO, one_hot) == 1.0


@pytest.mark.parametrize("labels", [[1, 9], [-1, 0]])
def test_labels_beyond_the_classes_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match=f"from {min(labels)} to {max(labels)}, but there are 3"):
        accuracy(SCORES_OF_TWO, np.array(labels))
