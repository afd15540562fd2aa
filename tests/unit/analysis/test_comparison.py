"""Faster, slower, same or undecided."""

from __future__ import annotations

import pytest

from edgeconv.analysis.comparison import Answer, abba, compare_speed


def _blocks(*medians: float) -> list[list[float]]:
    return [[middle, middle * 0.99, middle * 1.01] for middle in medians]


def test_the_order_of_blocks() -> None:
    assert [abba(pairs) for pairs in (0, 1, 2, 3, 4)] == ["", "AB", "ABBA", "ABBAAB", "ABBAABBA"]


@pytest.mark.parametrize(
    ("candidate", "answer"),
    [
        ((9.0, 9.1, 8.9, 9.0), Answer.FASTER),
        ((12.0, 12.1, 11.9, 12.0), Answer.SLOWER),
        ((10.02, 10.0, 9.98, 10.0), Answer.SAME),
        ((7.0, 14.0, 9.0, 11.0), Answer.UNDECIDED),
    ],
)
def test_answers(candidate: tuple[float, ...], answer: Answer) -> None:
    told = compare_speed(_blocks(10, 10, 10, 10), _blocks(*candidate))
    assert told.answer is answer
    assert told.pairs == 4


def test_less_than_the_band_is_same_though_it_is_certain() -> None:
    told = compare_speed(_blocks(10, 10, 10), _blocks(9.9, 9.9, 9.9))
    assert told.answer is Answer.SAME
    assert told.ratio == pytest.approx(0.99)
    narrow = compare_speed(_blocks(10, 10, 10), _blocks(9.9, 9.9, 9.9), same_within=0.001)
    assert narrow.answer is Answer.FASTER


def test_two_pairs_decide_nothing() -> None:
    told = compare_speed(_blocks(10, 10), _blocks(1, 1))
    assert told.answer is Answer.UNDECIDED
    assert told.interval is None
    assert told.reason == "2 pairs of blocks are too few; it takes 3."


def test_a_drift_in_both_sides_cancels() -> None:
    # ABBA: the machine gets slower from block to block.
    drift = [10.0 + 0.5 * place for place in range(8)]
    order = abba(4)
    old = [[value] for value, side in zip(drift, order, strict=True) if side == "A"]
    new = [[value * 0.8] for value, side in zip(drift, order, strict=True) if side == "B"]
    told = compare_speed(old, new)
    assert told.answer is Answer.FASTER
    assert told.ratio == pytest.approx(0.8, rel=0.01)


def test_student_interval_on_known_ratios() -> None:
    told = compare_speed(_blocks(1, 1, 1), _blocks(1.0, 2.0, 4.0), same_within=0.02)
    assert told.interval is not None
    # mean ln2, standard deviation ln2, t(2) = 4.303: ln2 · (1 ± 4.303 / √3)
    assert told.ratio == pytest.approx(2.0)
    assert told.interval.high == pytest.approx(2 ** (1 + 4.303 / 3**0.5))
    assert told.interval.low == pytest.approx(2 ** (1 - 4.303 / 3**0.5))


@pytest.mark.parametrize(("old", "new"), [(0, 0), (2, 3)])
def test_blocks_without_partner(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="make no pairs"):
        compare_speed(_blocks(*[1.0] * old), _blocks(*[1.0] * new))
