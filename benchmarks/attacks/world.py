"""What escapes aim at, and what shows that one came through."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeconv.sandbox.walls import Gap

BOTH, LANDLOCK, SECCOMP = "both", "Landlock", "seccomp"
"""Which wall is enough to hold an escape."""

ESCAPES: dict[str, tuple[Gap, str]] = {
    "read_passwd": (Gap.FILES, LANDLOCK),
    "read_passwd_in_a_thread": (Gap.FILES, LANDLOCK),
    "read_a_file": (Gap.FILES, LANDLOCK),
    "read_by_a_link": (Gap.FILES, LANDLOCK),
    "list_a_folder": (Gap.FILES, LANDLOCK),
    "write_a_file": (Gap.FILES, LANDLOCK),
    "make_a_file": (Gap.FILES, LANDLOCK),
    "remove_a_file": (Gap.FILES, LANDLOCK),
    "move_a_file_out": (Gap.FILES, LANDLOCK),
    "link_a_file_out": (Gap.FILES, LANDLOCK),
    "link_a_file_in": (Gap.FILES, LANDLOCK),
    "make_a_link_outside": (Gap.FILES, LANDLOCK),
    "read_environment_of_a_process": (Gap.FILES, LANDLOCK),
    "read_memory_of_a_process": (Gap.TRACING, LANDLOCK),
    "empty_a_file_by_its_path": (Gap.TRUNCATION, BOTH),
    "empty_a_file_as_a_reader": (Gap.TRUNCATION, BOTH),
    "change_a_mode": (Gap.MODES, SECCOMP),
    "change_a_time": (Gap.MODES, SECCOMP),
    "set_flags_of_a_file": (Gap.MODES, SECCOMP),
    "connect_by_tcp": (Gap.TCP, BOTH),
    "send_by_udp": (Gap.SOCKETS, SECCOMP),
    "connect_to_a_unix_socket": (Gap.SOCKETS, SECCOMP),
    "make_a_pair_of_sockets": (Gap.SOCKETS, SECCOMP),
    "fork": (Gap.FORK, SECCOMP),
    "spawn": (Gap.EXEC, BOTH),
    "become_a_daemon": (Gap.FORK, SECCOMP),
    "outlive_the_parent": (Gap.FORK, SECCOMP),
    "set_its_user": (Gap.FORK, SECCOMP),
    "signal_the_parent": (Gap.SIGNALS, BOTH),
    "signal_a_thread_of_the_parent": (Gap.SIGNALS, BOTH),
    "signal_by_owning_a_pipe": (Gap.SIGNALS, BOTH),
    "change_limits_of_the_parent": (Gap.LIMITS, SECCOMP),
    "set_own_limits": (Gap.LIMITS, SECCOMP),
    "change_priority_of_the_parent": (Gap.LIMITS, SECCOMP),
    "pin_the_parent": (Gap.LIMITS, SECCOMP),
    "trace_a_process": (Gap.TRACING, BOTH),
    "read_memory_by_call": (Gap.TRACING, BOTH),
    "ask_for_a_personality": (Gap.KERNEL, SECCOMP),
    "share_memory_by_key": (Gap.KERNEL, SECCOMP),
    "hold_memory_as_a_file": (Gap.KERNEL, SECCOMP),
    "hold_memory_in_a_pipe": (Gap.KERNEL, SECCOMP),
    # The last one: where it works, there is nobody left for another.
    "execute": (Gap.EXEC, BOTH),
}

_VICTIM = """
import ctypes, sys
# Where processes may trace their children only, this one lets anybody.
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))
held = ctypes.create_string_buffer(b"secret!")
print(ctypes.addressof(held), flush=True)
sys.stdin.read()
"""


@dataclass
class World:
    """What escapes aim at, and what shows that they came through."""

    own: Path
    outside: Path
    aim: dict[str, Any]
    listener: socket.socket
    receiver: socket.socket
    signals: list[int]

    def traces(self) -> frozenset[str]:
        """What escapes have left since the last call."""
        victim = Path(self.aim["victim"])
        left = {
            "planted": os.path.lexists(self.outside / "planted"),
            "victim": not victim.exists() or victim.read_text() != "whole",
            "mode": victim.exists() and victim.stat().st_mode & 0o777 != 0o600,
            "time": victim.exists() and victim.stat().st_mtime == 1,
            "connected": _accepts(self.listener),
            "received": _accepts(self.receiver),
            "signals": bool(self.signals),
        }
        return frozenset(trace for trace, there in left.items() if there)

    def restore(self) -> None:
        """Makes it as it was before anybody came."""
        made = [self.own / "tmp" / name for name in ("link", "linked", "own")]
        for each in (self.outside / "planted", *made):
            each.unlink(missing_ok=True)
        victim = Path(self.aim["victim"])
        victim.unlink(missing_ok=True)
        victim.write_text("whole")
        victim.chmod(0o600)
        self.signals.clear()


@contextmanager
def open_world(folder: Path) -> Iterator[World]:
    """A folder of the child's own, files outside it, listeners and another process.

    Takes the handler of SIGUSR1 while it is open; for the main thread.
    """
    own, outside = folder / "own", folder / "outside"
    for each in (own, outside):
        each.mkdir()
    (outside / "secret").write_text("secret")
    signals: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: signals.append(number))
    process = subprocess.Popen(
        [sys.executable, "-c", _VICTIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    # The path of a UNIX socket is short.
    name = f"\0edgeconv-attacks-{os.getpid()}"
    with (
        process,
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        receiver.bind(listener.getsockname())
        unix.bind(str(outside / "s") if len(str(outside)) < 90 else name)
        unix.listen()
        aim = {
            "secret": str(outside / "secret"),
            "victim": str(outside / "victim"),
            "outside": str(outside),
            "port": listener.getsockname()[1],
            "socket": unix.getsockname(),
            "process": process.pid,
            "address": int(process.stdout.readline()),
        }
        world = World(own, outside, aim, listener, receiver, signals)
        world.restore()
        try:
            yield world
        finally:
            process.kill()
            signal.signal(signal.SIGUSR1, before)


def _accepts(waiting: socket.socket) -> bool:
    """Whether anything has come in; takes it, and is ready for the next."""
    came = False
    waiting.setblocking(False)
    try:
        while True:
            if waiting.type is socket.SOCK_DGRAM:
                waiting.recv(100)
            else:
                waiting.accept()[0].close()
            came = True
    except BlockingIOError:
        return came
