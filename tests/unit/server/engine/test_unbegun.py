"""What was taken off a queue and does not begin is lost after a while."""

from __future__ import annotations

from dataclasses import dataclass

from edgeconv.server.engine.unbegun import Unbegun


@dataclass
class Clock:
    s: float = 100.0

    def __call__(self) -> float:
        return self.s


def test_an_attempt_is_lost_when_it_was_seen_for_the_whole_time() -> None:
    clock = Clock()
    unbegun = Unbegun(5.0, clock)
    assert "a" not in unbegun
    unbegun.see(["a"])
    clock.s += 4.9
    unbegun.see(["a", "b"])
    assert "a" not in unbegun
    clock.s += 0.2
    assert "a" in unbegun
    assert "b" not in unbegun


def test_one_that_began_meanwhile_starts_anew() -> None:
    clock = Clock()
    unbegun = Unbegun(5.0, clock)
    unbegun.see(["a"])
    clock.s += 3
    unbegun.see([])
    unbegun.see(["a"])
    clock.s += 3
    assert "a" not in unbegun
