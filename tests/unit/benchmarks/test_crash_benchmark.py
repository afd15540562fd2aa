"""The benchmark of crashes: what is killed when, and what is kept from round to round."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.crash import OFTEN, Progress, named_kills, points_of, real_kills, tables
from edgeconv.server.crash_points import ANY, CrashPoint
from edgeconv.testing.crashes.trial import NEEDS_ONE_SERVER


def _first(number: int, database: str = "sqlite", seed: int = 0) -> list[str]:
    kills = itertools.islice(named_kills(random.Random(seed), database), number)
    return [kill.point for kill in kills]


def test_every_point_comes_again_and_again_with_others_in_between() -> None:
    found = Counter(_first(300))
    assert min(found[point] for point in CrashPoint) >= 3
    assert found[ANY] > 10
    assert found[""] > 10


def test_two_servers_are_led_only_where_they_can_be() -> None:
    found = set(_first(300, "postgresql"))
    assert found == {*CrashPoint, ANY, ""} - set(NEEDS_ONE_SERVER)


def test_the_order_is_that_of_the_seed() -> None:
    assert _first(100) == _first(100)
    assert _first(100) != _first(100, seed=1)


def test_points_that_a_job_comes_to_once_are_not_waited_for_again() -> None:
    for kill in itertools.islice(named_kills(random.Random(0), "sqlite"), 500):
        if kill.point != ANY:
            assert 1 <= kill.number <= OFTEN.get(kill.point, 1)  # type: ignore[call-overload]


def test_real_conversions_are_killed_at_any_point_and_at_any_time() -> None:
    kills = real_kills(random.Random(0), 10)
    assert {kill.point for kill in kills} == {ANY, ""}
    assert all(kill.number > 1 or kill.after_s > 0 for kill in kills)


def test_what_was_done_is_kept_and_that_of_another_seed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "build" / "crash.json"
    assert Progress.read(path, 3, "sqlite") == Progress(3, "sqlite")
    progress = Progress(3, "sqlite", kills=20, hits={"step told": 2}, elsewhere_s=[1.5])
    progress.write(path)
    assert Progress.read(path, 3, "sqlite") == progress
    for seed, database in ((4, "sqlite"), (3, "postgresql")):
        with pytest.raises(SystemExit, match="name another"):
            Progress.read(path, seed, database)


@pytest.mark.parametrize(
    ("changed", "held"),
    [
        ({}, True),
        ({"wrong": {"missing": [], "orphans": []}}, True),
        ({"wrong": {"orphans": ["17 of server 16"]}}, False),
        ({"database": "postgresql", "late": "refused; begun elsewhere 4 s later"}, True),
        ({"database": "postgresql", "late": "the server that was stopped goes on"}, False),
        ({"database": "postgresql"}, False),
    ],
)
def test_anything_wrong_is_an_end_that_is_not_held(changed: dict[str, object], held: bool) -> None:
    progress = replace(Progress(0, "sqlite"), **changed)  # type: ignore[arg-type]
    assert tables(progress)[1] is held


def test_a_point_that_nobody_died_at_is_wrong_after_enough_kills() -> None:
    points = points_of("sqlite")
    hits = {point.value: 1 for point in points}
    assert tables(Progress(0, "sqlite", kills=4 * len(points), hits=hits))[1]
    del hits[points[0].value]
    assert tables(Progress(0, "sqlite", kills=4 * len(points) - 1, hits=hits))[1]
    assert not tables(Progress(0, "sqlite", kills=4 * len(points), hits=hits))[1]
