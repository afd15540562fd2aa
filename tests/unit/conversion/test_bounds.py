"""What an artifact is held to, and what is flagged where nothing holds it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeconv.analysis.agreement import OutputComparison, compare
from edgeconv.conversion.bounds import judge_metric, judge_output
from edgeconv.recipe.specs import VerifyOptions

RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((32, 10)).astype(np.float32)


def noisy(db: float) -> OutputComparison:
    """Scores against themselves with noise at that ratio."""
    noise = RNG.standard_normal(SCORES.shape)
    noise *= np.sqrt(np.sum((SCORES - SCORES.mean(0)) ** 2) / np.sum(noise**2)) * 10 ** (-db / 20)
    return compare(SCORES.astype(np.float64), SCORES + noise)


@pytest.mark.parametrize(("db", "passed"), [(61, True), (59, False), (20, False)])
def test_full_precision_is_held_to_60_db_always(db: float, passed: bool) -> None:
    agreement, notes = judge_output("y", noisy(db), VerifyOptions(precision="fp32"))
    assert agreement.passed is passed
    assert "60 dB" in agreement.bound
    assert notes == []


@pytest.mark.parametrize(("precision", "flagged"), [("fp32", 1), ("fp16", 1), ("int8", 0)])
def test_decisions_excuse_scores_of_few_bits_only(precision: str, flagged: int) -> None:
    scores = 1e3 * np.eye(32) + RNG.standard_normal((32, 32))
    figures = compare(scores, scores * 1.2)
    assert figures.argmax_agreement == 1
    assert figures.snr_db is not None
    assert 10 < figures.snr_db < 20
    options = VerifyOptions(precision=precision, lossy=True)
    _, notes = judge_output("y", figures, options, labelled=True)
    assert [note.kind for note in notes] == ["flagged"] * flagged


def test_an_error_at_the_noise_of_floats_passes_below_60_db() -> None:
    reference = (1000 + SCORES * 0.1).astype(np.float64)
    figures = compare(reference, reference + 1e-3 * np.sign(SCORES))
    assert figures.snr_db is not None
    assert figures.snr_db < 60
    assert judge_output("y", figures, VerifyOptions(precision="fp32"))[0].passed


def test_an_output_that_does_not_vary_is_held_to_the_error() -> None:
    same = np.full((8, 2), 3.0)
    options = VerifyOptions(precision="fp32")
    assert judge_output("y", compare(same, same + 1e-6), options)[0].passed
    assert not judge_output("y", compare(same, same + 1e-3), options)[0].passed


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_bound_holds_an_output_that_does_not_vary(precision: str) -> None:
    same = np.full((8, 3), 50.0)
    options = VerifyOptions(precision=precision, min_snr_db=40)
    lost, _ = judge_output("y", compare(same, same + 130), options)
    assert not lost.passed
    assert lost.bound == "error ≤ 0.01 of the largest value (40 dB; the output does not vary)"
    assert not judge_output("y", compare(same, same + 0.51), options)[0].passed
    assert judge_output("y", compare(same, same + 0.49), options)[0].passed


def test_one_sample_is_held_to_the_error_too() -> None:
    options = VerifyOptions(precision="int8", min_snr_db=20)
    one = SCORES[:1]
    assert not judge_output("y", compare(one, one * 2), options)[0].passed
    assert judge_output("y", compare(one, one * np.float32(1.01)), options)[0].passed


def test_full_precision_that_does_not_vary_can_be_held_to_more() -> None:
    same = np.full((8, 3), 50.0)
    options = VerifyOptions(precision="fp32", min_snr_db=120)
    assert not judge_output("y", compare(same, same + 2e-4), options)[0].passed
    assert judge_output("y", compare(same, same + 4e-5), options)[0].passed


@pytest.mark.parametrize(("precision", "share"), [("fp16", 0.01), ("int8", 0.1)])
def test_without_a_bound_an_output_that_does_not_vary_is_flagged(
    precision: str, share: float
) -> None:
    same = np.full((8, 3), 50.0)
    options = VerifyOptions(precision=precision)
    assert judge_output("y", compare(same, same + 49 * share), options)[1] == []
    agreement, [note] = judge_output("y", compare(same, same + 51 * share), options)
    assert (agreement.passed, agreement.bound) == (True, "")
    assert (note.kind, note.subject) == ("flagged", "y")
    assert "does not vary" in note.message


def test_the_recipe_can_ask_for_more_in_full_precision() -> None:
    options = VerifyOptions(precision="fp32", min_snr_db=80)
    assert not judge_output("y", noisy(70), options)[0].passed
    assert judge_output("y", noisy(90), options)[0].passed


@pytest.mark.parametrize(("precision", "lossy"), [("int8", False), ("fp16", False), ("fp32", True)])
def test_lossy_variants_are_held_to_the_recipe(precision: str, lossy: bool) -> None:
    options = VerifyOptions(precision=precision, lossy=lossy, min_snr_db=30)
    assert judge_output("y", noisy(31), options)[0].passed
    failed, notes = judge_output("y", noisy(29), options)
    assert not failed.passed
    assert failed.bound == "≥ 30 dB"
    assert notes == []


def test_fp16_without_a_bound_is_flagged_below_40_db() -> None:
    options = VerifyOptions(precision="fp16")
    assert judge_output("y", noisy(41), options)[1] == []
    agreement, [note] = judge_output("y", noisy(39), options)
    assert agreement.passed
    assert (note.kind, note.subject) == ("flagged", "y")
    assert "40 dB" in note.message


def test_int8_without_a_bound_is_flagged_when_decisions_change() -> None:
    options = VerifyOptions(precision="int8")
    assert judge_output("y", noisy(40), options)[1] == []
    agreement, [low, decisions] = judge_output("y", noisy(5), options)
    assert agreement.passed
    assert agreement.bound == ""
    assert "below 10 dB" in low.message
    assert "largest element" in decisions.message


@pytest.mark.parametrize("lowest", [np.finfo(np.float32).min, -1e9, -1e4])
def test_no_mask_makes_the_values_beside_it_right(lowest: float) -> None:
    reference = SCORES.copy()
    reference[:, 5:] = lowest
    got = reference.copy()
    assert judge_output("y", compare(reference, got), VerifyOptions(precision="fp32"))[0].passed
    got[:, :5] *= np.float32(0.97)
    agreement, _ = judge_output("y", compare(reference, got), VerifyOptions(precision="fp32"))
    assert not agreement.passed
    assert agreement.snr_db is not None
    assert agreement.snr_db < 60
    assert agreement.max_abs_reference == np.abs(SCORES[:, :5]).max()


def test_masks_that_move_with_the_sample_and_have_a_value_added_are_masks() -> None:
    reference = SCORES.copy()
    reference[RNG.random(SCORES.shape) < 0.4] -= 1e5
    got = np.where(reference < -1e4, reference, SCORES * np.float32(0.9))
    agreement, _ = judge_output("y", compare(reference, got), VerifyOptions(precision="fp32"))
    assert not agreement.passed


def test_a_mask_that_is_lost_fails_and_is_said() -> None:
    reference = SCORES.copy()
    reference[:, 5:] = -1e9
    got = reference.copy()
    got[3, 7] = -1e4
    agreement, notes = judge_output("y", compare(reference, got), VerifyOptions(precision="fp32"))
    assert not agreement.passed
    assert notes[0].message.startswith("A value far beyond all others")
    agreement, notes = judge_output("y", compare(reference, got), VerifyOptions(precision="int8"))
    assert agreement.passed
    assert notes[0].kind == "flagged"
    options = VerifyOptions(precision="int8", min_snr_db=30)
    agreement, notes = judge_output("y", compare(reference, got), options)
    assert not agreement.passed
    assert agreement.bound == "≥ 30 dB; masks kept"
    assert notes[0].kind == "flagged"


def large_column(spread: float) -> NDArray[np.float32]:
    """Scores of which the first column lies around 3000."""
    made = SCORES * np.float32(0.5)
    made[:, 0] = 3000 + spread * SCORES[:, 0]
    return made


@pytest.mark.parametrize("spread", [1, 30, 500])
@pytest.mark.parametrize("wrong", ["constant", "half"])
def test_a_large_column_that_is_wrong_fails_in_full_precision(spread: float, wrong: str) -> None:
    reference = large_column(spread)
    got = reference.copy()
    got[:, 0] = 3000 if wrong == "constant" else got[:, 0].astype(np.float16)
    fp32 = VerifyOptions(precision="fp32")
    assert not judge_output("y", compare(reference, got), fp32)[0].passed
    rounded = reference * (1 + 1e-7 * RNG.standard_normal(reference.shape))
    assert judge_output("y", compare(reference, rounded), fp32)[0].passed


def test_a_large_column_that_varies_is_no_mask() -> None:
    reference = large_column(spread=500)
    got = reference.copy()
    got[:, 0] = 0
    for options in (
        VerifyOptions(precision="int8", min_snr_db=30),
        VerifyOptions(precision="int8"),
    ):
        agreement, _ = judge_output("y", compare(reference, got), options)
        assert not agreement.passed
        assert agreement.snr_db is not None
        assert agreement.snr_db < 0


def test_slices_that_are_lost_are_flagged_beside_a_bound() -> None:
    reference = boxes_and_scores()
    got = reference.copy()
    got[:, :, 4:] = 0
    options = VerifyOptions(precision="int8", min_snr_db=20)
    agreement, [slices] = judge_output("y", compare(reference, got), options)
    assert agreement.passed
    assert slices.message.startswith("83.3% of the slices of axis 1 are lost")


def test_outputs_worse_than_their_mean_are_none_of_a_lossy_variant() -> None:
    figures = compare(SCORES, -2 * SCORES)
    agreement, _ = judge_output("y", figures, VerifyOptions(precision="int8"))
    assert not agreement.passed
    assert agreement.bound == "≥ 0 dB or the same decisions"
    assert judge_output("y", figures, VerifyOptions(precision="int8", max_drop=0.5))[0].passed
    assert judge_output("y", figures, VerifyOptions(precision="int8", min_snr_db=-20))[0].passed
    scaled = compare(SCORES, 4 * SCORES)
    assert judge_output("y", scaled, VerifyOptions(precision="int8"))[0].passed


def boxes_and_scores() -> NDArray[np.float32]:
    """Boxes up to 640 and scores up to 0.01: [samples, 1, 4 + 20, places]."""
    places = (16, 1, 24, 30)
    made = RNG.random(places).astype(np.float32)
    return made * np.where(np.arange(24) < 4, 640, 0.01)[:, None].astype(np.float32)


def test_scores_beside_boxes_are_held_on_their_own_scale() -> None:
    reference = boxes_and_scores()
    got = reference.copy()
    got[:, :, 4:] = boxes_and_scores()[:, :, 4:]
    figures = compare(reference, got)
    assert figures.snr_db is not None
    assert figures.snr_db > 60
    agreement, [slices, *_] = judge_output("y", figures, VerifyOptions(precision="fp32"))
    assert not agreement.passed
    assert slices.message.startswith("20 of 24 slices of axis 1 are wrong")


def test_8_bits_that_lose_the_scores_beside_boxes_are_flagged() -> None:
    reference = boxes_and_scores()
    got = reference.copy()
    got[:, :, 4:] = 0
    _, [slices, *_] = judge_output("y", compare(reference, got), VerifyOptions(precision="int8"))
    assert slices.message.startswith("83.3% of the slices of axis 1 are lost")


def test_a_slice_of_rounding_noise_and_one_that_hardly_varies_pass() -> None:
    reference = SCORES.astype(np.float64)
    reference[:, 0] *= 1e-7
    reference[:, 1] = 1 + 1e-7 * reference[:, 1]
    got = reference + 1e-7 * RNG.standard_normal(SCORES.shape)
    assert judge_output("y", compare(reference, got), VerifyOptions(precision="fp32"))[0].passed


def test_full_precision_that_decides_otherwise_is_flagged() -> None:
    reference = np.ones((32, 10)) + 3e-6 * SCORES
    reference[:16] *= 2
    agreement, [note] = judge_output(
        "y", compare(reference, reference[:, ::-1]), VerifyOptions(precision="fp32")
    )
    assert agreement.passed
    assert "largest element" in note.message


@pytest.mark.parametrize("shape", [(8, 3, 16, 16), (64, 4, 4)])
def test_equal_places_of_the_largest_element_do_not_excuse_an_image(shape: tuple[int, ...]) -> None:
    image = RNG.standard_normal(shape)
    figures = compare(image, 0.2 * image)
    assert figures.argmax_agreement == 1
    options = VerifyOptions(precision="int8")
    assert "below 20 dB" in judge_output("y", figures, options)[1][0].message
    softened = compare(image, 0.75 * image)
    assert judge_output("y", softened, options)[1] != []
    assert judge_output("y", softened, options, labelled=True)[1] == []


@pytest.mark.parametrize(("factor", "flagged"), [(0.2, True), (0.75, False)])
def test_equal_decisions_excuse_scores_above_10_db_only(factor: float, flagged: bool) -> None:
    _, notes = judge_output(
        "y", compare(SCORES, SCORES * np.float32(factor)), VerifyOptions(precision="int8")
    )
    assert bool(notes) is flagged


def test_one_sample_is_said_where_it_is_why_nothing_varies() -> None:
    figures = compare(SCORES[:1], SCORES[:1] * np.float32(0.3))
    agreement, _ = judge_output("y", figures, VerifyOptions(precision="int8", min_snr_db=20))
    assert agreement.bound.endswith("there is one sample only)")
    _, notes = judge_output("y", figures, VerifyOptions(precision="int8"))
    assert "one sample only" in notes[0].message


def test_nan_fails_whatever_the_bound() -> None:
    got = SCORES.copy()
    got[3, 3] = np.nan
    for precision in ("fp32", "int8"):
        agreement, [note] = judge_output(
            "y", compare(SCORES, got), VerifyOptions(precision=precision)
        )
        assert not agreement.passed
        assert "NaN" in note.message


@pytest.mark.parametrize("infinite", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_number_where_the_source_has_none_fails(precision: str, infinite: float) -> None:
    reference = SCORES.copy()
    reference[3, 3] = infinite
    got = reference.copy()
    got[3, 3] = 7
    options = VerifyOptions(precision=precision)
    agreement, notes = judge_output("y", compare(reference, got), options)
    assert not agreement.passed
    assert any("not where the source" in note.message for note in notes)


def test_the_lowest_number_for_minus_infinity_passes_and_is_said() -> None:
    reference, got = SCORES.copy(), SCORES.copy()
    reference[3, 3], got[3, 3] = -np.inf, -3.4e38
    agreement, [note] = judge_output("y", compare(reference, got), VerifyOptions(precision="fp32"))
    assert agreement.passed
    assert (note.kind, note.subject) == ("info", "y")
    assert "1 values are -infinity" in note.message


def test_nan_in_the_source_is_flagged_though_it_agrees() -> None:
    reference = SCORES.copy()
    reference[3, 3] = np.nan
    figures = compare(reference, reference)
    agreement, [note] = judge_output("y", figures, VerifyOptions(precision="fp32"))
    assert agreement.passed
    assert (note.kind, note.subject) == ("flagged", "y")
    assert "source itself gives NaN" in note.message


def test_integers_in_full_precision_have_to_be_equal() -> None:
    reference = np.arange(2000).reshape(20, 100)
    once, often = reference.copy(), reference.copy()
    once[0, 0], often[:, 0] = -1, -1
    options = VerifyOptions(precision="fp32")
    agreement, _ = judge_output("ids", compare(reference, once), options)
    assert (agreement.passed, agreement.snr_db, agreement.equal_share) == (True, None, 0.9995)
    assert not judge_output("ids", compare(reference, often), options)[0].passed


def test_integers_of_lossy_variants_are_flagged() -> None:
    reference = np.arange(100).reshape(20, 5)
    agreement, [note] = judge_output(
        "ids", compare(reference, reference // 2), VerifyOptions(precision="int8")
    )
    assert agreement.passed
    assert "equal" in note.message


@pytest.mark.parametrize(
    ("reference", "value", "kept"), [(0.98, 0.97, True), (0.98, 0.9699, False), (0.9, 0.95, True)]
)
def test_the_metric_may_drop_by_what_the_recipe_says(
    reference: float, value: float, kept: bool
) -> None:
    passed, notes = judge_metric(reference, value, VerifyOptions(precision="int8", max_drop=0.01))
    assert passed is kept
    assert len(notes) == (not kept)


@pytest.mark.parametrize(("reference", "value"), [(None, None), (0.9, None), (None, 0.9)])
def test_a_drop_that_can_not_be_judged_is_not_held(
    reference: float | None, value: float | None
) -> None:
    options = VerifyOptions(precision="int8", max_drop=0.01)
    passed, [note] = judge_metric(reference, value, options)
    assert not passed
    assert (note.kind, note.subject) == ("flagged", "max_drop")
    assert "no labels" in note.message
    assert "Give evaluation data with labels" in note.message


def test_without_a_bound_on_the_drop_no_labels_are_needed() -> None:
    assert judge_metric(None, None, VerifyOptions(precision="int8")) == (True, [])
