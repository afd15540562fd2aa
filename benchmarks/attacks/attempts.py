"""Hostile programs loaded in children, and what their code could do there."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.attacks.world import ESCAPES, World
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench.lock import lock_files
from edgeconv.sandbox.channel import Channel
from edgeconv.sandbox.child import Child
from edgeconv.sandbox.walls import Room, Walls

LOADING = "benchmarks.attacks.attempts:load_unchecked"
CHECKING = "edgeconv.conversion.job_child:main"
CHECKOUT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0

_REFUSALS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EXDEV}
"""How the kernel says no; whatever else goes wrong shows nothing."""


@dataclass(frozen=True)
class Attempt:
    """One escape by code that came in with a program.

    Attributes:
        worked: By its own word.
        refused: Its error was a refusal.
        traces: What it has left outside the child.
        walls: Those around it.
    """

    route: str
    escape: str
    worked: bool
    refused: bool
    traces: frozenset[str]
    walls: Walls


def load_unchecked(channel: Channel) -> None:
    """Entry point of children: loads a program as torch does, without looking at it before."""
    message = channel.receive()
    assert message is not None
    import torch

    program = torch.export.load(message["path"])
    program.module()(torch.rand(2, 4))
    channel.send({"loaded": True})


async def attempts(
    route: str, program: Path, world: World, room: Room | None
) -> AsyncIterator[Attempt]:
    """Tries all escapes from inside a program that is loaded unchecked.

    Args:
        room: What its child may touch; None builds no walls.

    Raises:
        EdgeconvError: its child ended too early.
        RuntimeError: the program ran no code.
    """
    async with asyncio.timeout(LIMIT_S):
        async with await Child.start(LOADING, folder=world.own, room=room) as child:
            await child.send({"path": str(program)})
            if (said := await child.receive()) != {"ran": route}:
                raise RuntimeError(f"the program ran no code by its {route}: {said}")
            for escape in ESCAPES:
                world.restore()
                await child.send({"escape": escape, **world.aim})
                outcome = await child.receive()
                yield _attempt(route, escape, outcome, world.traces(), await child.walls())


def _attempt(
    route: str, escape: str, outcome: Mapping[str, Any], traces: frozenset[str], walls: Walls
) -> Attempt:
    worked = outcome["worked"]
    return Attempt(route, escape, worked, outcome.get("errno") in _REFUSALS, traces, walls)


async def refusal(program: Path, folder: Path) -> EdgeconvError | None:
    """What the check before loading says of a program, in a job's child; None: nothing.

    Args:
        folder: The child's own; exists.

    Raises:
        RuntimeError: code of the program ran.
    """
    source, made, scratch = (folder / part for part in ("source", "made", "scratch"))
    for each in (source, made, scratch):
        each.mkdir()
    (source / "model.pt2").write_bytes(program.read_bytes())
    order = {
        "do": "step", "kind": "inspect", "name": "inspect", "options": {}, "seed": 0,
        "inputs": {"source": {"folder": str(source), "digest": "sha256:0", "facts": {}}},
        "folder": str(made), "scratch": str(scratch),
    }  # fmt: skip
    async with asyncio.timeout(LIMIT_S):
        room = Room(reads=tuple(lock_files()))
        async with await Child.start(CHECKING, folder=folder, room=room) as child:
            await child.send(order)
            while True:
                said = await child.receive()
                if "ran" in said:
                    raise RuntimeError(f"code of {program.name} ran")
                if "failed" in said:
                    return EdgeconvError.from_json(said["failed"])
                if "done" in said:
                    return None


def names_its_member(error: EdgeconvError | None, member: str) -> bool:
    """Whether a program was refused as unsafe, and where was said."""
    return (
        error is not None
        and error.reason is Reason.MODEL_UNSAFE
        and error.metadata.get("member") == member
        and member in error.message
    )
