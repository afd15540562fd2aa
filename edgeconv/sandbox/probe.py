"""Which walls stand around a child on this machine, found out by starting one."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from edgeconv.sandbox.channel import Channel
from edgeconv.sandbox.child import Child
from edgeconv.sandbox.walls import Room, Walls

_ENTRY = "edgeconv.sandbox.probe:do_nothing"


async def walls_here(room: Room | None = None) -> Walls:
    """The walls that a child gets here, with this user and this kernel.

    Raises:
        EdgeconvError: CHILD_DIED.
        OSError: no temporary folder can be made.
    """
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="edgeconv-walls-")
    with folder as name:
        async with await Child.start(_ENTRY, folder=Path(name), room=room or Room()) as child:
            return await child.walls()


def do_nothing(channel: Channel) -> None:
    """Entry point; what its parent wants to know has been said before."""
