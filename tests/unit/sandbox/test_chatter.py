"""How much a child may say before it is too much."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeconv.sandbox.channel import MAX_LINE_BYTES
from edgeconv.sandbox.chatter import (
    BYTES_AT_ONCE,
    MESSAGES_A_SECOND,
    MESSAGES_AT_ONCE,
    Chatter,
)


def test_so_many_messages_at_once_and_no_more() -> None:
    chatter = Chatter(0.0)
    assert all(chatter.hear(50, 0.0) for _ in range(int(MESSAGES_AT_ONCE)))
    assert not chatter.hear(50, 0.0)


def test_whoever_keeps_to_the_pace_may_talk_for_ever() -> None:
    chatter = Chatter(0.0)
    assert all(chatter.hear(200, n / MESSAGES_A_SECOND) for n in range(100_000))


def test_long_lines_count_by_their_bytes() -> None:
    chatter = Chatter(0.0)
    assert chatter.hear(MAX_LINE_BYTES, 0.0)
    assert chatter.hear(MAX_LINE_BYTES, 0.0)
    assert not chatter.hear(1, 0.0)


@given(st.lists(st.tuples(st.integers(0, MAX_LINE_BYTES), st.floats(0, 10)), max_size=50))
def test_a_silence_is_not_saved_up(said: list[tuple[int, float]]) -> None:
    chatter, now_s, taken = Chatter(0.0), 1e6, 0
    for size, pause_s in said:
        now_s += pause_s
        if not chatter.hear(size, now_s):
            break
        taken += size
    passed_s = now_s - 1e6
    assert taken <= BYTES_AT_ONCE + passed_s * 1024**2 + 1
