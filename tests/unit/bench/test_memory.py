"""Memory of a process, in real processes of known size."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgeconv.bench.memory import Peak, parse_status

MIB = 1024 * 1024
_PAGE = 4096


def _run(code: str) -> list[int]:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [int(word) for word in ran.stdout.split()]


def test_the_high_water_mark_outlives_what_was_freed_and_is_set_back() -> None:
    before, with_block, after_reset = _run(
        "from edgeconv.bench.memory import read_peak, reset_peak\n"
        "assert reset_peak()\n"
        "print(read_peak().peak_bytes)\n"
        "block = bytearray(b'x') * (100 << 20)\n"
        "del block\n"
        "print(read_peak().peak_bytes)\n"
        "assert reset_peak()\n"
        "print(read_peak().peak_bytes)\n"
    )
    assert 98 * MIB < with_block - before < 104 * MIB
    assert abs(after_reset - before) < 4 * MIB


def test_a_child_does_not_inherit_the_mark_of_a_large_parent() -> None:
    code = (
        "import subprocess, sys\n"
        "block = bytearray(b'x') * (200 << 20)\n"
        "sys.stdout.write(subprocess.run([sys.executable, '-c', '''\n"
        "import resource\n"
        "from edgeconv.bench.memory import read_peak, reset_peak\n"
        "reset_peak()\n"
        "print(read_peak().peak_bytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
        "'''], capture_output=True, text=True, check=True).stdout)\n"
    )
    ours, by_getrusage = _run(code)
    assert ours < 60 * MIB
    # The trap that this module avoids; should it go, the module can be simpler.
    assert by_getrusage > 200 * MIB


def test_mapped_file_pages_are_told_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("mapped") / "weights"
    path.write_bytes(bytes(40 * MIB))
    anonymous, file, _ = _run(
        "import mmap\n"
        "from edgeconv.bench.memory import read_peak\n"
        f"stream = open({str(path)!r}, 'rb')\n"
        "before = read_peak()\n"
        "mapped = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)\n"
        "sum(mapped[place] for place in range(0, len(mapped), 4096))\n"
        "after = read_peak()\n"
        "print(after.anonymous_bytes - before.anonymous_bytes)\n"
        "print(after.file_bytes - before.file_bytes, after.peak_bytes)\n"
    )
    assert abs(file - 40 * MIB) < 2 * MIB
    assert abs(anonymous) < 2 * MIB


def test_the_lines_of_a_status_file() -> None:
    text = "Name:\tx\nVmHWM:\t    2048 kB\nRssAnon:\t 1000 kB\nRssFile:\t 24 kB\nThreads:\t2\n"
    assert parse_status(text) == Peak(2048 * 1024, 1000 * 1024, 24 * 1024)


def test_lines_that_are_absent_count_as_nothing() -> None:
    assert parse_status("Name:\tx\n") == Peak(0, 0, 0)
