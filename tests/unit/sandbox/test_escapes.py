"""Escapes: each works without walls, none works behind them, and where one wall is missing the
other one holds or the child has said what it can do."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgeconv.sandbox.child import Child
from edgeconv.sandbox.walls import NEWEST, Gap, Room, Walls

ENTRY = "tests.unit.sandbox.escapes:try_escape"
CHECKOUT = Path(__file__).parents[3]
LIMIT_S = 30.0
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
    "connect_by_tcp": (Gap.TCP, BOTH),
    "send_by_udp": (Gap.SOCKETS, SECCOMP),
    "connect_to_a_unix_socket": (Gap.SOCKETS, SECCOMP),
    "make_a_pair_of_sockets": (Gap.SOCKETS, SECCOMP),
    "execute": (Gap.EXEC, BOTH),
    "fork": (Gap.FORK, SECCOMP),
    "spawn": (Gap.EXEC, BOTH),
    "become_a_daemon": (Gap.FORK, SECCOMP),
    "outlive_the_parent": (Gap.FORK, SECCOMP),
    "signal_the_parent": (Gap.SIGNALS, BOTH),
    "signal_a_thread_of_the_parent": (Gap.SIGNALS, BOTH),
    "signal_by_owning_a_pipe": (Gap.SIGNALS, BOTH),
    "change_limits_of_the_parent": (Gap.LIMITS, SECCOMP),
    "change_priority_of_the_parent": (Gap.LIMITS, SECCOMP),
    "pin_the_parent": (Gap.LIMITS, SECCOMP),
    "trace_a_process": (Gap.TRACING, BOTH),
    "read_memory_by_call": (Gap.TRACING, BOTH),
    "ask_for_a_personality": (Gap.KERNEL, SECCOMP),
    "share_memory_by_key": (Gap.KERNEL, SECCOMP),
}

VICTIM = """
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

    def traces(self) -> dict[str, object]:
        """What an escape has left: each false when nothing came through."""
        victim = Path(self.aim["victim"])
        return {
            "planted": os.path.lexists(self.outside / "planted"),
            "victim": not victim.exists() or victim.read_text() != "whole",
            "mode": victim.exists() and victim.stat().st_mode & 0o777 != 0o600,
            "time": victim.exists() and victim.stat().st_mtime == 1,
            "connected": _accepts(self.listener),
            "received": _accepts(self.receiver),
            "signals": list(self.signals),
        }


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    own, outside = tmp_path / "own", tmp_path / "outside"
    for folder in (own, outside):
        folder.mkdir()
    (outside / "secret").write_text("secret")
    (outside / "victim").write_text("whole")
    (outside / "victim").chmod(0o600)
    signals: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: signals.append(number))
    process = subprocess.Popen(
        [sys.executable, "-c", VICTIM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    # The path of a UNIX socket is short.
    name = f"\0edgeconv-test-{os.getpid()}"
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
        try:
            yield World(own, outside, aim, listener, receiver, signals)
        finally:
            process.kill()
            signal.signal(signal.SIGUSR1, before)


def attempt(world: World, escape: str, room: Room | None) -> tuple[bool, Walls]:
    """Whether the escape worked, by its own word, and the walls around who tried it."""

    async def main() -> tuple[bool, Walls]:
        async with asyncio.timeout(LIMIT_S):
            async with await Child.start(ENTRY, folder=world.own, room=room) as child:
                await child.send({"escape": escape, **world.aim})
                return (await child.receive())["worked"], await child.walls()

    return asyncio.run(main())


def room(**walls: Any) -> Room:
    """A room in which the tests' own code can be read."""
    return Room(reads=(CHECKOUT,), **walls)


@pytest.mark.parametrize("escape", ESCAPES)
def test_without_walls_it_works(world: World, escape: str) -> None:
    worked, walls = attempt(world, escape, None)
    assert worked
    assert ESCAPES[escape][0] in walls.gaps


@pytest.mark.parametrize("escape", ESCAPES)
def test_behind_the_walls_it_does_not(world: World, escape: str) -> None:
    before = world.traces()
    worked, walls = attempt(world, escape, room())
    assert not worked
    assert world.traces() == before
    assert walls.gaps == ()


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("alone", [LANDLOCK, SECCOMP])
def test_one_wall_holds_it_or_says_that_it_does_not(world: World, escape: str, alone: str) -> None:
    gap, enough = ESCAPES[escape]
    before = world.traces()
    left = room(landlock=NEWEST if alone == LANDLOCK else 0, seccomp=alone == SECCOMP)
    worked, walls = attempt(world, escape, left)
    if enough in (BOTH, alone):
        # Who owns a pipe is not told that no signal goes out.
        assert not worked or escape == "signal_by_owning_a_pipe"
        assert world.traces() == before
    else:
        assert worked
        assert gap in walls.gaps
        assert gap.words in walls.warning


OF_VERSION = {
    "empty_a_file_by_its_path": (Gap.TRUNCATION, 3),
    "connect_by_tcp": (Gap.TCP, 4),
    "signal_the_parent": (Gap.SIGNALS, 6),
}
"""What Landlock alone holds from a version of its interface on."""


@pytest.mark.parametrize("escape", OF_VERSION)
def test_an_older_landlock_alone_does_not_hold_it_and_says_so(world: World, escape: str) -> None:
    gap, since = OF_VERSION[escape]
    worked, walls = attempt(world, escape, room(landlock=since - 1, seccomp=False))
    assert (worked, walls.landlock) == (True, since - 1)
    assert gap in walls.gaps
    worked, walls = attempt(world, escape, room(landlock=since, seccomp=False))
    assert (worked, walls.landlock) == (False, since)
    assert gap not in walls.gaps


@pytest.mark.parametrize("escape", [*OF_VERSION, "read_passwd", "link_a_file_in", "send_by_udp"])
def test_with_the_filter_the_oldest_landlock_is_enough(world: World, escape: str) -> None:
    before = world.traces()
    worked, walls = attempt(world, escape, room(landlock=1))
    assert not worked
    assert world.traces() == before
    assert (walls.landlock, walls.gaps) == (1, ())


def _accepts(listening: socket.socket) -> bool:
    listening.setblocking(False)
    try:
        listening.recv(16) if listening.type == socket.SOCK_DGRAM else listening.accept()[0].close()
    except BlockingIOError:
        return False
    return True
