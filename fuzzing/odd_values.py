"""Numbers and texts that programs stumble over."""

from __future__ import annotations

from random import Random

INTEGERS = (
    0, 1, 2, 3, 7, -1, -2, 255, 2**16, 2**31 - 1, 2**31, -(2**31), 2**32, 2**40, 2**62,
    2**63 - 1, -(2**63),
)  # fmt: skip
FLOATS = (0.0, -0.0, 1e-45, 1e38, -1e38, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "", " ", "\0", "a\0b", "\x1b[2J\x1b[31m", "\x9b31m", "\r\n\x07", "\u202egnp.exe", "\u2028",
    "<script>alert(1)</script>", '"><img src=x onerror=y>', "../../etc/passwd", "/etc/passwd",
    "C:\\con", ".", "..", "{{7*7}}", "%s%n", "$(id)", "`id`", "\ufffe", "\U000e0041", "名前",
    "self", "forward", "__class__", "class", "0", "-1", "e\u0301" * 50,
)  # fmt: skip
LONG = 300_000


def integer(random: Random) -> int:
    """Any integer of 64 bits, most often one at an edge."""
    if random.random() < 0.7:
        return random.choice(INTEGERS)
    return random.randrange(-(2**63), 2**63)


def small(random: Random) -> int:
    """An integer that may well be meant."""
    return random.randrange(-4, 9)


def text(random: Random) -> str:
    """A text that somebody meant to do harm with, or one that is far too long."""
    if random.random() < 0.08:
        return random.choice(TEXTS) + "n" * LONG
    return random.choice(TEXTS)
