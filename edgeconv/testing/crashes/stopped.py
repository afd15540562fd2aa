"""A server that is stopped for longer than it may be silent, and goes on then."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from edgeconv.server.records import TERMINAL_JOB_STATES
from edgeconv.testing.crashes.caller import Caller
from edgeconv.testing.crashes.cases import gated
from edgeconv.testing.crashes.life import Nursery
from edgeconv.testing.crashes.outputs import Stored
from edgeconv.testing.crashes.reach import Reach
from edgeconv.testing.crashes.servers import Servers
from edgeconv.testing.quick_steps import JournalLine, read_journal

GATED = "reference"
_LIMIT_S = 120.0
_LOOK_S = 0.02


async def late_word(folder: Path, nursery: Nursery, database: str, dead_s: float) -> str:
    """Has a server stopped while its child is at a step, and the other one take the job over.

    Returns:
        "refused" and how, or what is wrong instead.
    """
    reach = Reach()
    settings = {"executor_dead_s": dead_s}
    servers = Servers(folder, reach, nursery, database=database, settings=settings)
    caller = Caller(reach, folder)
    gate = folder / "gate"
    job = gated(gate, GATED)
    async with servers.open(), asyncio.timeout(_LIMIT_S):
        done = asyncio.create_task(caller.do(job))
        while not (began := _runs(folder)):
            await asyncio.sleep(_LOOK_S)
        stopped = servers.standing.life
        assert [line.server for line in began] == [stopped.pid]
        async with servers.living():
            stopped.send(signal.SIGSTOP)
            reach.remove(servers.standing.endpoint)
            # Its child has its result now, and nobody who takes it.
            gate.touch()
            # Whoever asked the one that was stopped would wait for its word for a minute.
            before = await _ended(servers)
            done.cancel()
            stopped.send(signal.SIGCONT)
            if not await stopped.death(_LIMIT_S / 2):
                return "the server that was stopped goes on"
            after = await servers.read()
        servers.gone(servers.standing)
    if _truth(before) != _truth(after):
        return "what it said late has changed the store"
    again = _runs(folder)[1:]
    if [line.server == stopped.pid for line in again] != [False]:
        return f"the step was done by {[line.server for line in again]}"
    waited_s = (again[0].time_ns - began[0].time_ns) / 1e9
    return f"refused; the step was begun elsewhere {waited_s:.1f} s later"


async def _ended(servers: Servers) -> Stored:
    """The store as soon as its one job has ended."""
    while True:
        stored = await servers.read()
        if all(row["state"] in TERMINAL_JOB_STATES for row in stored.conversions):
            return stored
        await asyncio.sleep(_LOOK_S)


def _runs(folder: Path) -> list[JournalLine]:
    return [line for line in read_journal(folder / "journal") if line.step == GATED]


def _truth(stored: Stored) -> object:
    return stored.conversions, stored.variants, stored.steps, stored.events
