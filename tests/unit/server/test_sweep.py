"""Stages of a sweep: one that fails is named, and the others are done."""

from __future__ import annotations

import asyncio
import logging

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.sweep import Stage, sweep


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (EdgeconvError(Reason.DATABASE_UNAVAILABLE, "It is away."), "second: It is away."),
        (RuntimeError("a fault of ours"), "a fault of ours"),
    ],
)
def test_a_stage_that_fails_is_named_and_keeps_no_other_from_being_done(
    fault: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def stage(name: str, fault: Exception | None = None) -> Stage:
        async def do() -> None:
            done.append(name)
            if fault is not None:
                raise fault

        return Stage(name, do)

    with caplog.at_level(logging.WARNING):
        asyncio.run(sweep([stage("first"), stage("second", fault), stage("third")]))
    assert done == ["first", "second", "third"]
    (record,) = caplog.records
    assert "second" in record.getMessage()
    assert said in caplog.text


def test_a_sweep_that_is_cancelled_ends() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        sweeping = asyncio.create_task(sweep([Stage("waiting", forever)]))
        await asyncio.sleep(0)
        sweeping.cancel()
        await asyncio.wait([sweeping], timeout=10)
        assert sweeping.cancelled()

    asyncio.run(scenario())
