"""What a benchmark says of a machine that was not its own."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.other_work import ProcessorTime, in_words, other_processors


def test_what_others_did_is_what_was_busy_without_ours() -> None:
    before = ProcessorTime(at_s=100.0, busy_s=50.0, own_s=1.0)
    after = ProcessorTime(at_s=110.0, busy_s=65.0, own_s=11.0)
    assert other_processors(before, after) == 0.5
    assert other_processors(before, ProcessorTime(at_s=110.0, busy_s=55.0, own_s=6.5)) == 0.0


def test_only_a_machine_that_was_not_quiet_is_complained_of() -> None:
    assert "not those of a quiet machine" in in_words(0.4)
    assert in_words(0.05).endswith("processors busy meanwhile.")


def test_the_work_of_an_ended_child_is_ours() -> None:
    before = ProcessorTime.now()
    subprocess.run([sys.executable, "-c", "sum(range(10**7))"], check=True)
    after = ProcessorTime.now()
    worked_s = after.own_s - before.own_s
    assert 0 < worked_s <= after.busy_s - before.busy_s + 0.1
