"""How durations and sizes are written for people, and by them."""

from __future__ import annotations

import math
import re

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


_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip


def parse_seconds(text: str) -> float:
    """A duration as people write it, in seconds: "30d", "12 h", "90min", "45s".

    Raises:
        ValueError: it is none; the message says what is expected.
    """
    return _parse(text, _SECONDS, "a number and s, min, h, d or w, such as 30d")


def parse_bytes(text: str) -> int:
    """A size as people write it, in bytes: "20GiB", "500 MB", "1024".

    Raises:
        ValueError: it is none; the message says what is expected.
    """
    return round(_parse(text, _BYTES, "a number and B, MB, MiB, GB, GiB or TiB, such as 20GiB"))


def _parse(text: str, units: dict[str, int], expected: str) -> float:
    found = _WRITTEN.fullmatch(text.strip())
    unit = units.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise ValueError(f"{text!r} is not {expected}")
    value = float(found[1]) * unit
    if not math.isfinite(value) or value > 2**62:
        raise ValueError(f"{text!r} is too large")
    return value


def _three_digits(value: float) -> str:
    if value == int(value) and abs(value) < 1000:
        return str(int(value))
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
