"""First code of a child: `python -m edgeconv.sandbox.entry`. Standard library only.

The first line of the channel names the entry point, the limits and the room. Limits and
walls stand before anything heavy is imported; the first line back says which walls do.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from edgeconv.sandbox.channel import Channel
from edgeconv.sandbox.limits import apply
from edgeconv.sandbox.walls import LIMITS, Room, Walls

_PR_SET_PDEATHSIG = 1
_WHOM_TO_END = Path("/proc/self/oom_score_adj")
_FIRST_OF_ALL = "1000"


def main() -> None:
    """Sets up this process and calls the entry point named by the parent."""
    read_fd, write_fd, parent = (int(word) for word in sys.argv[1:4])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the kernel was told to watch it.
    if os.getppid() != parent:
        os._exit(1)
    # When the machine's memory runs out, it is this process that the kernel ends, and not its
    # parent or a neighbour. Not every system has the file.
    with suppress(OSError):
        _WHOM_TO_END.write_text(_FIRST_OF_ALL)
    # What this process starts gets neither the channel nor files that others can read.
    os.set_inheritable(read_fd, False)
    os.set_inheritable(write_fd, False)
    os.umask(0o077)
    channel = Channel(read_fd, write_fd)
    start = channel.receive()
    if start is None:
        return
    unheld = apply(start["limits"])
    walls = _enclose(start["room"])
    if unheld:
        walls = replace(walls, reasons={**walls.reasons, LIMITS: unheld})
    channel.send({"walls": walls.to_json()})
    module, _, function = start["entry"].partition(":")
    try:
        getattr(import_module(module), function)(channel)
    except BrokenPipeError:
        _leave(1)
    except BaseException:
        # Whatever it is, its trace goes to the parent's log and this process ends.
        traceback.print_exc()
        _leave(1)
    _leave(0)


def _enclose(room: dict[str, Any] | None) -> Walls:
    if room is None:
        return Walls()
    from edgeconv.sandbox.enclose import enclose

    return enclose(Room.from_json(room), Path.cwd())


def _leave(status: int) -> NoReturn:
    """Ends at once: native threads of loaded runtimes can hang a regular exit."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
