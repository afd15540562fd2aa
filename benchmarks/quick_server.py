"""A server whose job children do steps of milliseconds, in a process of its own.

    python -m benchmarks.quick_server STATE_FOLDER

What is measured then is the service, not conversions.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from edgeconv.sandbox.walls import Room
from edgeconv.server.app import ServerSettings, serve
from edgeconv.testing import quick_steps

JOBS = 2
CHILD_IDLE_S = 4.0
"""Short: kept children hold descriptors, and these are counted at the end."""


async def main(state: Path) -> None:
    """Serves on a state folder until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = ServerSettings(
        state,
        jobs_at_once=JOBS,
        child_idle_s=CHILD_IDLE_S,
        child_entry=quick_steps.ENTRY,
        child_room=Room(writes=(state.parent,)),
    )
    await serve(settings, ready=lambda endpoint: None, stop=stop)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
