"""Entry points of children that take more than they may, and then wait to be ended."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from edgeconv.sandbox.channel import Channel

BLOCK = bytes(64 * 1024)


def _wait(channel: Channel) -> None:
    channel.send({"taken": True})
    time.sleep(600)


def write_many(channel: Channel) -> None:
    """Files in several folders, each one small; a link to a large one is none of them."""
    Path("tmp/link").symlink_to("/proc/kcore")
    for number in range(64):
        folder = Path("tmp", str(number))
        folder.mkdir()
        (folder / "file").write_bytes(BLOCK)
    _wait(channel)


def hold_nameless(channel: Channel) -> None:
    """A file that it holds open without a name."""
    held = Path("tmp/held").open("wb")  # noqa: SIM115
    Path("tmp/held").unlink()
    held.write(BLOCK * 64)
    held.flush()
    _wait(channel)


def hold_memory(channel: Channel) -> None:
    """Memory that is made as a file."""
    held = os.memfd_create("held")
    os.write(held, BLOCK * 64)
    _wait(channel)


def hide_in_a_folder(channel: Channel) -> None:
    """A file in a folder that nobody may list, its maker neither."""
    Path("tmp/hidden").mkdir(0o300)
    Path("tmp/hidden/file").write_bytes(BLOCK * 64)
    _wait(channel)


def make_files(channel: Channel) -> None:
    """Empty files."""
    for number in range(300):
        Path("tmp", str(number)).touch()
    _wait(channel)


def dig(channel: Channel) -> None:
    """Folders within each other, deeper than a path can name."""
    for _ in range(30):
        os.mkdir("d" * 200)  # noqa: PTH102
        os.chdir("d" * 200)
    _wait(channel)


def make_threads(channel: Channel) -> None:
    """Threads."""
    threading.stack_size(64 * 1024)
    for _ in range(80):
        threading.Thread(target=time.sleep, args=(600,)).start()
    _wait(channel)


def end_the_first_thread(channel: Channel) -> None:
    """Holds a nameless file in a process whose first thread has ended."""
    import ctypes

    hold = threading.Thread(target=hold_nameless, args=(channel,))
    hold.start()
    ctypes.CDLL(None).pthread_exit(None)


def sparse(channel: Channel) -> None:
    """A file that is large by its size, and takes no disk; and one file by many names."""
    with Path("tmp/large").open("wb") as stream:
        stream.truncate(1 << 30)
    Path("tmp/real").write_bytes(BLOCK)
    for number in range(40):
        Path(f"tmp/real{number}").hardlink_to("tmp/real")
    channel.send({"taken": True})
    channel.receive()
