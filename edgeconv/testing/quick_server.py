"""Servers with quick steps as processes of their own, for tests that end them by force.

    python -m edgeconv.testing.quick_server

It imports all that a server needs, which takes longest, and then makes a server of each line
that it reads: a JSON object with the fields of `Birth`. It answers with lines "PID born" and,
when the server listens, "PID ADDRESS".
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import json
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.base.state_folder import Endpoint
from edgeconv.sandbox.walls import Room
from edgeconv.server.app import ServerSettings, serve
from edgeconv.server.crash_points import arm
from edgeconv.testing import quick_steps

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Birth:
    """What a server begins with.

    Attributes:
        state: Its state folder. Quick steps may write beside it: journals and gates lie there.
        log: The file that its standard error goes to.
        crash: Where it is to die, as `crash_points.arm` has it.
        real: Whether its children do real steps.
        settings: More of `ServerSettings`.
    """

    state: str
    log: str
    crash: str
    real: bool
    settings: dict[str, Any]


def settings_of(birth: Birth) -> ServerSettings:
    """Its settings: more jobs at once than usual, and a sweep that comes often."""
    state = Path(birth.state)
    quick: dict[str, Any] = {
        "child_entry": quick_steps.ENTRY, "child_room": Room(writes=(state.parent,)),
    }  # fmt: skip
    usual = {"jobs_at_once": 3, "poll_s": 0.05, "sweep_s": 0.5} | ({} if birth.real else quick)
    return ServerSettings(state, **{**usual, **birth.settings})


async def _serve(birth: Birth) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, _tell_tasks)

    def ready(endpoint: Endpoint) -> None:
        _say(endpoint.address)

    await serve(settings_of(birth), ready=ready, stop=stop)


def _tell_tasks() -> None:
    for task in asyncio.all_tasks():
        print(task, file=sys.stderr)
        for frame in task.get_stack():
            print(f"  {frame.f_code.co_qualname}:{frame.f_lineno}", file=sys.stderr)
    sys.stderr.flush()


def _live(birth: Birth) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A trial that is broken off leaves no servers behind.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    log = os.open(birth.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 2)
    # One that does not end is asked where it stands.
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    arm(birth.crash)
    asyncio.run(_serve(birth))


def _say(word: str) -> None:
    os.write(1, f"{os.getpid()} {word}\n".encode())


def main() -> None:
    """Makes servers until its input ends."""
    # Nobody waits for them here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork() == 0:
            status = 1
            try:
                _say("born")
                _live(Birth(**json.loads(line)))
                status = 0
            finally:
                # What a fork leaves to the interpreter's end is the parent's.
                sys.stderr.flush()
                os._exit(status)


if __name__ == "__main__":
    main()
