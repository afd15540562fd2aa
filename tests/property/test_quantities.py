"""Durations and sizes as people read them: three digits, never far off, growing with the value."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeconv.base.quantities import format_bytes, format_ns

TIMES = {"ns": 1.0, "µs": 1e3, "ms": 1e6, "s": 1e9}
SIZES = {"B": 1.0, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3}
FORMS = [(format_ns, TIMES, 1000.0), (format_bytes, SIZES, 1024.0)]
VALUES = st.one_of(st.integers(0, 10**18), st.floats(0, 1e18, allow_subnormal=False))


def read(text: str, units: dict[str, float]) -> float:
    number, unit = text.split(" ")
    return float(number) * units[unit]


@pytest.mark.parametrize(("write", "units", "step"), FORMS)
@given(value=VALUES)
@example(value=999.5)
@example(value=999.49)
@example(value=9.995)
@example(value=9.994)
@example(value=99.95)
@example(value=99.94)
@example(value=1023)
@example(value=1023.4)
@example(value=1023.6)
@example(value=999_500)
@example(value=1_048_000)
def test_what_is_written_is_the_value_to_three_digits(
    value: float, write: Callable[[float], str], units: dict[str, float], step: float
) -> None:
    text = write(value)
    number, unit = text.split(" ")
    assert re.fullmatch(r"[0-9]+|[0-9]{2}\.[0-9]|[0-9]\.[0-9]{2}", number)
    # Half of the last digit that is shown: less than half a hundredth of the value.
    shown = read(text, units)
    assert abs(shown - value) <= 0.5 * 10 ** -len(number.partition(".")[2]) * units[unit] * 1.001
    if value >= units[list(units)[1]]:
        assert abs(shown - value) <= 0.0051 * value
    if unit != list(units)[-1]:
        assert float(number) < step
    if unit != next(iter(units)):
        assert float(number) >= 0.99


@pytest.mark.parametrize(("write", "units", "step"), FORMS)
@given(one=VALUES, other=VALUES)
def test_more_is_never_written_as_less(
    one: float, other: float, write: Callable[[float], str], units: dict[str, float], step: float
) -> None:
    low, high = sorted((one, other))
    assert read(write(low), units) <= read(write(high), units)


@pytest.mark.parametrize(("write", "units", "step"), FORMS)
@given(value=st.integers(1, 10**15))
def test_a_difference_may_be_negative(
    value: int, write: Callable[[float], str], units: dict[str, float], step: float
) -> None:
    assert write(-value) == f"-{write(value)}"
