"""Servers with quick steps as processes of their own, for tests that end them by force.

    python -m edgeconv.testing.quick_server

It imports all that a server needs, which takes longest, and then makes a server of each line
that it reads: a JSON object with the fields of `Birth`. It answers with lines "PID born" and,
when the server listens, "PID ADDRESS". On SIGUSR2 a server that listens reads the file
`orders_of(log)`: where it is to die from now on.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import importlib
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
_LATE = (
    "alembic.command", "alembic.context", "dbos._sys_db_sqlite", "dbos._sys_db_postgres",
    "mako.template",
)  # fmt: skip
"""What a server imports only when it has begun; each would do so anew."""


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


@dataclass(frozen=True)
class Orders:
    """Where a server that lives already is to die.

    Attributes:
        crash: As `crash_points.arm` has it.
        first: A file that only the first one makes who comes there, of all that have these
            orders; the others live on.
    """

    crash: str
    first: str


def orders_of(log: Path) -> Path:
    """The file with the orders of the server with that log."""
    return log.with_suffix(".orders")


def settings_of(birth: Birth) -> ServerSettings:
    """Its settings: more jobs at once than usual, and a sweep that comes often.

    Queues of a shared database are looked at as rarely as a kill can wait for: to look takes
    more time than all else that an idle server does.
    """
    state = Path(birth.state)
    quick: dict[str, Any] = {
        "child_entry": quick_steps.ENTRY, "child_room": Room(writes=(state.parent,)),
    }  # fmt: skip
    usual = {"jobs_at_once": 3, "poll_s": 0.1, "sweep_s": 0.5} | ({} if birth.real else quick)
    return ServerSettings(state, **{**usual, **birth.settings})


async def _serve(birth: Birth) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, _tell_tasks)
    loop.add_signal_handler(signal.SIGUSR2, _obey, orders_of(Path(birth.log)))

    def ready(endpoint: Endpoint) -> None:
        _say(endpoint.address)

    await serve(settings_of(birth), ready=ready, stop=stop)


def _obey(path: Path) -> None:
    orders = Orders(**json.loads(path.read_text()))

    def is_first() -> bool:
        try:
            os.close(os.open(orders.first, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    arm(orders.crash, may_die=is_first)


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
    for module in _LATE:
        importlib.import_module(module)
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
