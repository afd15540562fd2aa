"""A server with quick steps as a process of its own, for tests that end it by force.

    python -m edgeconv.testing.quick_server STATE [--jobs-at-once N] [--real]

It begins when it reads a line, which says where it is to die, as `crash_points` has it. It
prints its address when it listens, and serves until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from edgeconv.base.state_folder import Endpoint
from edgeconv.sandbox.walls import Room
from edgeconv.server.app import ServerSettings, serve
from edgeconv.server.crash_points import arm
from edgeconv.testing import quick_steps


def settings(arguments: argparse.Namespace) -> ServerSettings:
    """Children of quick steps may write beside the state folder: journals and gates lie there."""
    quick: dict[str, Any] = {
        "child_entry": quick_steps.ENTRY, "child_room": Room(writes=(arguments.state.parent,)),
    }  # fmt: skip
    return ServerSettings(
        arguments.state, jobs_at_once=arguments.jobs_at_once, poll_s=0.05, sweep_s=0.5,
        **({} if arguments.real else quick),
    )  # fmt: skip


async def main(arguments: argparse.Namespace) -> None:
    """Serves until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    def ready(endpoint: Endpoint) -> None:
        print(endpoint.address, flush=True)

    await serve(settings(arguments), ready=ready, stop=stop)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("--jobs-at-once", type=int, default=3)
    parser.add_argument("--real", action="store_true", help="real steps in the children")
    logging.basicConfig(level=logging.INFO, format="%(process)d %(name)s %(message)s")
    given = parser.parse_args()
    # What takes longest is done by now: all is imported.
    if line := sys.stdin.readline():
        arm(line.strip())
        asyncio.run(main(given))
