"""ONNX Runtime writes nothing below HOME and opens no socket where edgeconv loads it.

Its telemetry opens its first socket about nine seconds after the import, so both runs
here take longer; they run at the same time. The control run, which edgeconv has no part
in, shows that the trap works. Neither has CI set, which silences the telemetry too.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeconv.bench.measure import ENTRY
from edgeconv.bench.record import STEADY, decode_block, phase_of
from edgeconv.bench.request import MeasureRequest
from edgeconv.sandbox.child import Child
from edgeconv.testing.tiny_files import write_dense_onnx

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="the filter knows two processors"
)

_TRAP = Path(__file__).parent / "refuse_sockets.py"
_CONTROL = """
import sys, time
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1])
time.sleep(60)
"""


def _files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


async def _measure_in_trap(model: Path, scratch: Path) -> tuple[dict[str, Any], list[str]]:
    """A whole thorough block, over 12 s; its answer and what lies below its HOME."""
    python = (sys.executable, str(_TRAP))
    async with await Child.start(ENTRY, folder=scratch, python=python) as child:
        await child.send(
            {
                "request": MeasureRequest("onnxruntime", "thorough", threads=2).to_json(),
                "folder": str(model.parent),
                "file": model.name,
                "samples": None,
                "lock_folder": str(scratch),
                "result": str(scratch / "block.json"),
                "outputs": None,
            }
        )
        while "phase" in (answer := await child.receive()):
            pass
    return answer, _files_below(scratch / "home")


def test_a_measurement_is_silent_where_the_plain_library_is_not(tmp_path: Path) -> None:
    folder, scratch, home = tmp_path / "model", tmp_path / "scratch", tmp_path / "home"
    for each in (folder, scratch, home):
        each.mkdir()
    # An inference takes longer than the 10 µs below which a measurement ends sooner.
    model = write_dense_onnx(folder / "m.onnx", features=1024, classes=1024)
    control = subprocess.Popen(
        [sys.executable, str(_TRAP), "-c", _CONTROL, str(model)],
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        stderr=subprocess.DEVNULL,
    )
    try:
        answer, written = asyncio.run(_measure_in_trap(model, scratch))
        ended = control.wait(timeout=60)
    finally:
        control.kill()
        control.wait()

    assert ended == -signal.SIGSYS, "the trap does not catch the plain library: it proves nothing"
    assert any("onnxruntime" in name for name in _files_below(home))

    assert answer == {"done": {"output_samples": 0}}
    assert written == []
    steady = phase_of(decode_block((scratch / "block.json").read_bytes()), STEADY)
    assert steady is not None
    assert steady["ended_ns"] - steady["began_ns"] >= 12_000_000_000


def test_a_library_that_was_loaded_loudly_is_refused(tmp_path: Path) -> None:
    code = (
        "import onnxruntime\n"
        "from edgeconv.base.errors import EdgeconvError\n"
        "try:\n"
        "    import edgeconv.runtimes.onnxruntime.child\n"
        "except EdgeconvError as error:\n"
        "    print(error.reason.name)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        # The home is fresh, and the process ends long before anything could be sent.
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "CI": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout == "INTERNAL\n", ran.stderr
