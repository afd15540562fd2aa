"""How much a child may say. Pure.

Each message costs its parent's time, which others wait for.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.sandbox.channel import MAX_LINE_BYTES

MESSAGES_AT_ONCE, MESSAGES_A_SECOND = 1000.0, 200.0
BYTES_AT_ONCE, BYTES_A_SECOND = 2.0 * MAX_LINE_BYTES, 1024.0**2
LONGEST_MESSAGE_BYTES = 4 * 1024**2
"""Of one: reading it holds up the parent's other threads. Thousands of tensors fit."""


@dataclass
class _Allowance:
    """What is left of an amount that fills up again with time."""

    most: float
    a_second: float
    left: float

    def take(self, amount: float, passed_s: float) -> bool:
        """Takes an amount; whether there was so much."""
        self.left = min(self.most, self.left + self.a_second * passed_s) - amount
        return self.left >= 0


class Chatter:
    """Keeps account of what a child says."""

    def __init__(self, now_s: float) -> None:
        self._heard_s = now_s
        self._messages = _Allowance(MESSAGES_AT_ONCE, MESSAGES_A_SECOND, MESSAGES_AT_ONCE)
        self._bytes = _Allowance(BYTES_AT_ONCE, BYTES_A_SECOND, BYTES_AT_ONCE)

    def hear(self, size_bytes: int, now_s: float) -> bool:
        """Takes a message; whether the child may say so much."""
        passed_s, self._heard_s = now_s - self._heard_s, now_s
        fewer = self._messages.take(1, passed_s)
        return self._bytes.take(size_bytes, passed_s) and fewer
