"""How durations and sizes are written for people."""

from __future__ import annotations

NS_PER_S = 1_000_000_000
MOST_DB = 300.0
"""The largest ratio that is told, for outputs that are equal: more than the doubles of the
sums could tell."""


def format_ns(value_ns: float) -> str:
    """A duration with three significant digits: "1.32 ms", "417 µs", "2.05 s"."""
    for limit, divisor, unit in ((1e3, 1.0, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if abs(value_ns) < limit * 0.9995:
            return f"{_three_digits(value_ns / divisor)} {unit}"
    return f"{_three_digits(value_ns / 1e9)} s"


def format_bytes(value_bytes: float) -> str:
    """A size with three significant digits in binary units: "1.21 MiB"."""
    for divisor, unit in ((1.0, "B"), (1024.0, "KiB"), (1024.0**2, "MiB")):
        if abs(value_bytes) < divisor * 1024 * 0.9995:
            return f"{_three_digits(value_bytes / divisor)} {unit}"
    return f"{_three_digits(value_bytes / 1024**3)} GiB"


def _three_digits(value: float) -> str:
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
