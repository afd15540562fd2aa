"""Whether a load's memory is told as flat, growing or unknown."""

from __future__ import annotations

import random

import pytest

from benchmarks.flatness import Trend, Verdict, trend

BOUND = 50.0


def _looks(slope: float, noise: float, count: int = 240, seed: int = 1) -> Trend:
    """As a server's memory goes: up and down for a while, and not from look to look."""
    chance = random.Random(seed)
    work, figure, off = [], [], 0.0
    for i in range(count):
        off = 0.7 * off + chance.gauss(0, noise)
        work.append(2.0 * i)
        figure.append(100_000 + slope * work[-1] + off)
    found = trend(work, figure)
    assert found is not None
    return found


def test_a_slope_without_noise_is_found() -> None:
    found = _looks(3.0, 0.0)
    assert found.slope == pytest.approx(3.0)
    assert found.low == pytest.approx(3.0) == found.high


@pytest.mark.parametrize(
    ("slope", "noise", "verdict"),
    [
        (0.0, 2_000.0, Verdict.FLAT),
        (-500.0, 2_000.0, Verdict.FLAT),
        (200.0, 2_000.0, Verdict.GROWS),
        (0.0, 200_000.0, Verdict.UNKNOWN),
        (200.0, 200_000.0, Verdict.UNKNOWN),
    ],
)
def test_flat_is_said_only_where_the_spread_lets_it(
    slope: float, noise: float, verdict: Verdict
) -> None:
    assert _looks(slope, noise).verdict(BOUND) is verdict


def test_the_interval_holds_the_true_slope_about_as_often_as_it_says() -> None:
    found = [_looks(7.0, 5_000.0, seed=seed) for seed in range(200)]
    held = sum(each.low <= 7.0 <= each.high for each in found)
    assert 180 <= held <= 199


def test_a_peak_of_one_look_does_not_count() -> None:
    work = [float(i) for i in range(80)]
    figure = [100.0] * 80
    figure[70] = 1e9
    found = trend(work, figure)
    assert found is not None
    assert found.slope == 0


def test_nothing_is_said_of_too_few_looks_or_no_work() -> None:
    assert trend([float(i) for i in range(23)], [1.0] * 23) is None
    assert trend([5.0] * 80, [1.0] * 80) is None
