"""Names that are forgotten after a while."""

from __future__ import annotations

from edgeconv.server.engine.recent import Recent


def test_a_name_stays_for_one_round_and_no_longer_than_two() -> None:
    recent = Recent()
    recent.note(["a"])
    recent.age()
    assert "a" in recent
    recent.age()
    assert "a" not in recent


def test_a_name_can_be_dropped_at_any_age() -> None:
    recent = Recent()
    recent.note(["a", "b"])
    recent.age()
    recent.note(["c"])
    for name in "abc":
        recent.drop(name)
    assert len(recent) == 0


def test_what_is_noted_all_the_time_does_not_grow_without_end() -> None:
    recent = Recent()
    for number in range(100):
        recent.note([f"{number}"])
        recent.age()
    assert len(recent) == 1
