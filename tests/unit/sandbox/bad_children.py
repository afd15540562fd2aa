"""Entry points of children for tests of the sandbox; most behave badly."""

from __future__ import annotations

import importlib
import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from edgeconv.bench.memory import read_peak, reset_peak
from edgeconv.sandbox.channel import MAX_LINE_BYTES, Channel
from edgeconv.sandbox.enclose import enclose
from edgeconv.sandbox.walls import Room

WRITE_FD = int(sys.argv[2]) if len(sys.argv) > 2 and sys.argv[2].isdigit() else -1
"""The channel's descriptor, as the parent gave it to this process."""


def echo(channel: Channel) -> None:
    """Sends every message back."""
    while (message := channel.receive()) is not None:
        channel.send(message)


def describe(channel: Channel) -> None:
    """Sends what a child sees of itself."""
    channel.send(
        {
            "environment": dict(os.environ),
            "folder": str(Path.cwd()),
            "umask": os.umask(0),
            "session": os.getsid(0) == os.getpid(),
            "open": sorted(int(entry.name) for entry in Path("/proc/self/fd").iterdir()),
            "modules": sorted(name for name in sys.modules if name.startswith("edgeconv")),
            "path": sys.path,
            "limits": {
                name: resource.getrlimit(getattr(resource, name))[0]
                for name in ("RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE")
            },
        }
    )


def fail(channel: Channel) -> None:
    """Raises."""
    raise RuntimeError("the entry point failed")


def print_much(channel: Channel) -> None:
    """Prints to both outputs what looks like messages, then sends one."""
    for _ in range(20_000):
        print('{"printed": true}')
        print('{"printed": true}', file=sys.stderr)
    channel.send({"sent": True})


def die(channel: Channel) -> None:
    """Ends by the signal that it is sent."""
    message = channel.receive()
    os.kill(os.getpid(), signal.Signals[message["signal"]] if message else signal.SIGKILL)
    time.sleep(60)


def die_for_memory(channel: Channel) -> None:
    """Ends as the system ends a process, with one more such end in the system's counters."""
    message = channel.receive()
    if message:
        Path(message["counters"]).write_text("nr_free_pages 5\noom_kill 4\noom_kill_other 9\n")
    os.kill(os.getpid(), signal.SIGKILL)


def leave_one_behind(channel: Channel) -> None:
    """Starts a process that no kill of the group reaches and that keeps the outputs open."""
    escaped = subprocess.Popen(["sleep", "60"], start_new_session=True)
    channel.send({"pid": escaped.pid})
    channel.receive()


def burn(channel: Channel) -> None:
    """Uses the processor until it is stopped."""
    while True:
        pass


def grow(channel: Channel) -> None:
    """Takes memory until it is refused."""
    try:
        held = bytearray(64 * 1024**3)
    except MemoryError:
        channel.send({"refused": True})
    else:
        channel.send({"got": len(held)})


def write_much(channel: Channel) -> None:
    """Writes a file until it is refused."""
    try:
        with Path("tmp/large").open("wb") as stream:
            for _ in range(64):
                stream.write(bytes(1024**2))
                stream.flush()
    except OSError as error:
        channel.send({"errno": error.errno, "size": Path("tmp/large").stat().st_size})


def start_grandchild(channel: Channel) -> None:
    """Starts a process of its own, tells its id, and waits."""
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    channel.send({"pid": grandchild.pid})
    channel.receive()


def send_nonsense(channel: Channel) -> None:
    """Sends what is no message, by the name that it is sent."""
    message = channel.receive() or {}
    lines = {
        "no JSON": b"not json\n",
        "no object": b"[1, 2]\n",
        "too long": b"x" * (MAX_LINE_BYTES + 2),
        "half": b'{"half":',
    }
    data = memoryview(lines[message["line"]])
    while data:
        data = data[os.write(WRITE_FD, data) :]
    if message["line"] != "half":
        time.sleep(600)


def ignore_channel(channel: Channel) -> None:
    """Says that it runs, and never looks at the channel again."""
    channel.send({"running": True})
    time.sleep(600)


def close_channel(channel: Channel) -> None:
    """Closes its end and lives on."""
    os.close(WRITE_FD)
    time.sleep(600)


def enclose_again(channel: Channel) -> None:
    """Builds walls once more, with too few descriptors for it, and tells which stand."""
    with suppress(OSError):
        while True:
            os.dup(0)
    channel.send({"walls": enclose(Room(), Path.cwd()).to_json()})


def enclose_beside_a_thread(channel: Channel) -> None:
    """Builds walls while another thread runs, and tells which stand."""
    done = threading.Event()
    threading.Thread(target=done.wait).start()
    channel.send({"walls": enclose(Room(), Path.cwd()).to_json()})
    done.set()


def work(channel: Channel) -> None:
    """Does what a step does, and tells what was refused."""
    aim = channel.receive() or {}
    given, shared = Path(aim["given"]), Path(aim["shared"])
    weights = (given / "model").read_text()

    def make_and_remove() -> None:
        Path("tmp/folder").mkdir()
        Path("tmp/folder/a").write_text(weights)
        Path("tmp/folder/a").rename("tmp/folder/b")
        shutil.copyfile("tmp/folder/b", "copied")
        Path("tmp/folder/b").unlink()
        Path("tmp/folder").rmdir()

    def run_threads() -> None:
        thread = threading.Thread(target=(Path("tmp/threaded")).write_text, args=(weights,))
        thread.start()
        thread.join()
        assert Path("tmp/threaded").read_text() == weights

    def run_code_made_in_memory() -> None:
        mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()

    def read_about_itself() -> None:
        assert Path("/proc/self/status").read_text()
        assert read_peak().peak_bytes > 0
        assert reset_peak()
        assert Path("/proc/cpuinfo").read_text()
        assert list(Path("/sys/devices/system/cpu").iterdir())

    def use_libraries() -> None:
        assert importlib.import_module("numpy").linalg.inv([[2.0]]) == 0.5
        assert importlib.import_module("sqlite3").connect(":memory:")

    def look_at_its_limits() -> None:
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        os.sched_setaffinity(0, os.sched_getaffinity(0))

    faults: dict[str, str] = {}
    for name, do in (
        ("make files", make_and_remove),
        ("write to what is shared", lambda: (shared / "made").write_text(weights)),
        ("write to what may be read", lambda: (given / "model").write_text("")),
        ("threads", run_threads),
        ("code made in memory", run_code_made_in_memory),
        ("read about itself", read_about_itself),
        ("random bytes", lambda: os.close(os.open("/dev/urandom", os.O_RDONLY))),
        ("throw away", lambda: Path("/dev/null").write_text("x")),
        ("libraries", use_libraries),
        ("limits", look_at_its_limits),
    ):
        try:
            do()
        except Exception as fault:
            # Whatever it is, it is told by name.
            faults[name] = type(fault).__name__
    channel.send({"faults": faults})
