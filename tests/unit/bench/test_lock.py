"""The lock between measurements and conversions.

Locks of the kernel belong to open files, so threads of one process exclude each other as
processes do; the death of a holder needs a real process.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from edgeconv.bench.lock import exclusive_lock, machine_folder, shared_lock

Lock = Callable[[Callable[[float, str], None], Path], AbstractContextManager[None]]
PATIENCE_S = 20.0


class Holder:
    """A thread that takes a lock, and lets go when told."""

    def __init__(self, lock: Lock, folder: Path) -> None:
        self.waits, self.holds, self._go = (threading.Event() for _ in range(3))
        self.words: list[str] = []
        self._lock, self._folder = lock, folder
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def release(self) -> None:
        self._go.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        def told(fraction: float, words: str) -> None:
            assert fraction == -1.0
            self.words.append(words)
            self.waits.set()

        with self._lock(told, self._folder):
            self.holds.set()
            assert self._go.wait(PATIENCE_S)


@contextmanager
def _held(lock: Lock, folder: Path) -> Iterator[Holder]:
    holder = Holder(lock, folder)
    assert holder.holds.wait(PATIENCE_S)
    yield holder
    holder.release()


def test_conversions_share_it(tmp_path: Path) -> None:
    with _held(shared_lock, tmp_path) as first, _held(shared_lock, tmp_path) as second:
        assert first.words == second.words == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (exclusive_lock, exclusive_lock),
        (exclusive_lock, shared_lock),
        (shared_lock, exclusive_lock),
    ],
    ids=["measure-measure", "measure-convert", "convert-measure"],
)
def test_a_measurement_is_alone_and_waiting_is_told_once(
    first: Lock, second: Lock, tmp_path: Path
) -> None:
    with _held(first, tmp_path):
        other = Holder(second, tmp_path)
        assert other.waits.wait(PATIENCE_S)
        assert not other.holds.is_set()
    assert other.holds.wait(PATIENCE_S)
    other.release()
    assert len(other.words) == 1
    assert "waiting for" in other.words[0]


def test_a_waiting_measurement_keeps_new_conversions_behind_it(tmp_path: Path) -> None:
    early = Holder(shared_lock, tmp_path)
    assert early.holds.wait(PATIENCE_S)
    measuring = Holder(exclusive_lock, tmp_path)
    assert measuring.waits.wait(PATIENCE_S)
    late = Holder(shared_lock, tmp_path)
    # With a plain shared lock it would get in at once, and so would all after it.
    assert late.waits.wait(PATIENCE_S)
    assert not late.holds.is_set()
    early.release()
    assert measuring.holds.wait(PATIENCE_S)
    assert not late.holds.is_set()
    measuring.release()
    assert late.holds.wait(PATIENCE_S)
    late.release()


def test_overlapping_conversions_without_end_do_not_starve_a_measurement(tmp_path: Path) -> None:
    stop = threading.Event()
    turns = [threading.Event(), threading.Event()]

    def convert(mine: threading.Event, other: threading.Event) -> None:
        # Lets go only once the other one has passed, so that one of them always holds it.
        while not stop.is_set():
            with shared_lock(lambda *_: None, tmp_path):
                mine.set()
                other.wait(0.05)
                other.clear()

    threads = [
        threading.Thread(target=convert, args=(turns[place], turns[1 - place]), daemon=True)
        for place in range(2)
    ]
    for thread in threads:
        thread.start()
    try:
        measuring = Holder(exclusive_lock, tmp_path)
        assert measuring.holds.wait(5.0)
        measuring.release()
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from edgeconv.bench.lock import exclusive_lock\n"
        "with exclusive_lock(lambda *_: None, pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    waiting = Holder(exclusive_lock, tmp_path)
    assert waiting.waits.wait(PATIENCE_S)
    os.kill(process.pid, signal.SIGKILL)
    assert waiting.holds.wait(PATIENCE_S)
    waiting.release()
    process.communicate()


def test_a_program_started_by_the_holder_does_not_inherit_the_lock(tmp_path: Path) -> None:
    with exclusive_lock(lambda *_: None, tmp_path):
        sleeper = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with exclusive_lock(lambda *_: pytest.fail("it is still held"), tmp_path):
            pass
    finally:
        sleeper.kill()
        sleeper.wait()


def test_the_files_stay_and_everyone_may_open_them(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        with exclusive_lock(lambda *_: None, tmp_path):
            pass
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"edgeconv-measuring.lock": 0o666, "edgeconv-measuring.gate": 0o666}


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.touch()
    (tmp_path / "edgeconv-measuring.lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"), shared_lock(lambda *_: None, tmp_path):
        pass


def test_the_machine_has_one_folder_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = machine_folder()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert machine_folder() == before
    assert before in (Path("/run/lock"), Path("/tmp"))
