"""Hostile files through a real server: what takes too long is not believed at once."""

from __future__ import annotations

import asyncio

from fuzzing.cases import Case, honest
from fuzzing.outcomes import TIME_OUT, Outcome, Served
from fuzzing.service import through_server


def test_what_takes_too_long_is_done_once_more_by_another_server() -> None:
    case = next(each for each in honest(programs=("in_place",)) if each.kind == "onnx")
    told: list[tuple[Case, Outcome]] = []
    servers: list[Served] = []
    asyncio.run(through_server([case], 0.0, lambda *words: told.append(words), servers.append))
    ((done, outcome),) = told
    assert (done.name, outcome.what, outcome.before) == (case.name, TIME_OUT, TIME_OUT)
    assert [each.cases for each in servers][:2] == [0, 1]
