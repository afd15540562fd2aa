"""What is done about jobs when what the engine knows and what the store says differ."""

from __future__ import annotations

from edgeconv.server.engine.engine import Job, JobKind, Standing
from edgeconv.server.executor import Repairs, repairs


def _job(name: str) -> Job:
    return Job(JobKind.CONVERSION, f"conversions/{name}")


def test_what_a_dead_executor_left_is_resumed_in_the_stores_order() -> None:
    standing = [Standing(_job("new"), "dead"), Standing(_job("old"), "dead")]
    done = repairs(standing, {"dead"}, [_job("old"), _job("new")])
    assert done == Repairs(cancel=[], resume=[_job("old"), _job("new")], start=[])


def test_what_lives_or_waits_stays_where_it_is() -> None:
    standing = [Standing(_job("runs"), "alive"), Standing(_job("waits"), "")]
    done = repairs(standing, {"dead"}, [_job("runs"), _job("waits")])
    assert done == Repairs(cancel=[], resume=[], start=[])


def test_what_has_ended_without_its_dead_executor_is_cleared_away() -> None:
    assert repairs([Standing(_job("a"), "dead")], {"dead"}, []).cancel == [_job("a")]
    assert repairs([Standing(_job("a"), "alive")], {"dead"}, []).cancel == []


def test_what_no_one_knows_is_started() -> None:
    assert repairs([], set(), [_job("a")]) == Repairs(cancel=[], resume=[], start=[_job("a")])


def test_what_waits_for_an_older_version_is_taken_from_its_queue() -> None:
    standing = [Standing(_job("a"), "", outdated=True)]
    assert repairs(standing, set(), [_job("a")]).resume == [_job("a")]


def test_what_was_lost_before_it_began_is_taken_up_though_its_executor_lives() -> None:
    standing = [Standing(_job("a"), "alive", lost=True), Standing(_job("b"), "alive", lost=True)]
    done = repairs(standing, set(), [_job("a")])
    assert done == Repairs(cancel=[_job("b")], resume=[_job("a")], start=[])
