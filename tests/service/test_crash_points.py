"""A server is killed at every crash point in turn: what comes out is what an undisturbed one
makes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edgeconv.server.crash_points import CrashPoint
from edgeconv.testing.crashes.findings import compare
from edgeconv.testing.crashes.life import nursery
from edgeconv.testing.crashes.servers import Kill
from edgeconv.testing.crashes.trial import Outcome, Trial, undisturbed


def _kill_at(point: CrashPoint) -> Kill:
    # Of the last variant: all that is left to do is to have it measured.
    return Kill(point, 2 if point is CrashPoint.VARIANT_MADE else 1)


@pytest.mark.timeout(1500)
def test_wherever_a_server_dies_the_outputs_are_those_of_an_undisturbed_one(
    tmp_path: Path,
) -> None:
    async def scenario() -> Outcome:
        async with nursery(tmp_path / "logs") as servers:
            kills = [_kill_at(point) for point in CrashPoint]
            killed = await Trial(tmp_path, servers, feed=False).run(kills)
            # Jobs name the folder that their journal lies in: it is to be the same one.
            for name in ("state", "journal"):
                (tmp_path / name).rename(tmp_path / f"{name} of the killed")
            expected = await undisturbed(tmp_path, servers, killed.jobs)
        jobs = [job.name for job in killed.jobs]
        killed.findings.add(compare(killed.stored, expected, jobs))
        return killed

    outcome = asyncio.run(scenario())
    assert outcome.findings.all == []
    assert [death.point for death in outcome.deaths] == list(CrashPoint)
    # A server that dies before it listens is led nowhere.
    assert len(outcome.jobs) > len(CrashPoint) / 2
