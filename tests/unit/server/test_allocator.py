"""What the server's C library keeps of memory that was freed, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import ctypes, re, sys, threading
from pathlib import Path
from edgeconv.server.allocator import give_back_what_is_freed

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

if sys.argv[1] == "set":
    give_back_what_is_freed()
# One large block that is freed raises the size from which others are given back.
del [bytearray(30_000_000)][:]
large = bytearray(30_000_000)
del large
before = resident()
blocks, pins = [], []
for _ in range(100):
    blocks.append(bytearray(1_000_000))
    pins.append(bytearray(2_000))
blocks.clear()
kept = resident() - before

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
everyone = threading.Barrier(12)

def allocate():
    everyone.wait()
    library.malloc(1_000)
    everyone.wait()

threads = [threading.Thread(target=allocate) for _ in range(12)]
for each in threads: each.start()
for each in threads: each.join()
library.fopen.restype = ctypes.c_void_p
file = library.fopen(sys.argv[2].encode(), b"w")
library.malloc_info(0, ctypes.c_void_p(file))
library.fclose(ctypes.c_void_p(file))
print(kept, Path(sys.argv[2]).read_text().count("<heap nr="))
"""


def _kept_and_arenas(*words: str, **variables: str) -> tuple[int, int]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words], env=environment | variables,
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    kept, arenas = map(int, done.stdout.split())
    return kept, arenas


def test_freed_blocks_go_back_to_the_system_and_arenas_are_few(tmp_path: Path) -> None:
    kept, arenas = _kept_and_arenas("set", f"{tmp_path}/info")
    assert kept < 10_000_000
    assert arenas <= 2
    # As it is without: else nothing is shown.
    kept, arenas = _kept_and_arenas("leave", f"{tmp_path}/info")
    assert kept > 50_000_000
    assert arenas > 2


def test_what_the_operator_sets_stands(tmp_path: Path) -> None:
    _, arenas = _kept_and_arenas("set", f"{tmp_path}/info", MALLOC_ARENA_MAX="5")
    assert 2 < arenas <= 5
