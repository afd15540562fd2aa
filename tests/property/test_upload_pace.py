"""When an upload is too slow, against a plain reading of the rule."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeconv.server.rpc.upload_pace import Pace

RATE, WINDOW_S = 10, 4.0
STEPS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 60)), max_size=30)


def _first_failure(came: list[tuple[float, int]]) -> float:
    """By trying all moments at which a window can lose bytes."""
    for end in sorted({WINDOW_S, *(at + WINDOW_S for at, _ in came)}):
        # Just after: what came at its beginning is out.
        inside = sum(size for at, size in came if end - WINDOW_S < at <= end)
        if end >= WINDOW_S and inside < RATE * WINDOW_S:
            return end
    raise AssertionError


@given(STEPS)
def test_it_is_too_slow_when_a_window_brings_too_little(steps: list[tuple[int, int]]) -> None:
    pace, came, now = Pace(RATE, WINDOW_S), [(0.0, 0)], 0.0
    for quarter_s, size in steps:
        # Times that floats hold exactly, and never on the edge of a window.
        now += quarter_s / 4 + 1 / 64
        if now > pace.until_s:
            break
        pace.came(size, now)
        came.append((now, size))
    assert pace.until_s == _first_failure(came)


def test_one_that_keeps_the_rate_goes_on_for_ever() -> None:
    pace = Pace(RATE, WINDOW_S)
    for second in range(1000):
        assert second <= pace.until_s
        pace.came(RATE, float(second))


def test_a_burst_buys_no_more_than_one_window() -> None:
    pace = Pace(RATE, WINDOW_S)
    pace.came(1_000_000, 1.0)
    assert pace.until_s == 5.0
