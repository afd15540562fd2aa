"""`edgeconv convert` beside a measurement, and beside conversions of others: it says so."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from edgeconv.bench.lock import exclusive_lock, shared_lock
from edgeconv.testing.tiny_files import write_dense_onnx

_LIMIT_S = 240
_FLAGS = ("--target", "onnx", "--precision", "fp32", "--device", "any")


def _say_nothing(fraction: float, words: str) -> None:
    pass


def _until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stderr is not None
    read = ""
    for line in process.stderr:
        read += line
        if words in line:
            return read
    raise AssertionError(f"{words!r} never came:\n{read}")


def test_a_wait_for_the_machine_is_shown_before_the_steps_and_before_measuring(
    tmp_path: Path,
) -> None:
    model = write_dense_onnx(tmp_path / "dense.onnx")
    words = ["convert", model, *_FLAGS, "--state", tmp_path / "state", "--out", tmp_path / "out"]
    with ExitStack() as measurement, ExitStack() as conversion:
        measurement.enter_context(exclusive_lock(_say_nothing))
        process = subprocess.Popen(
            [sys.executable, "-m", "edgeconv", *map(str, words)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            try:
                said = _until(process, "Waiting for a measurement on this machine to end")
                measurement.close()
                conversion.enter_context(shared_lock(_say_nothing))
                said += _until(process, "waiting for conversions or another measurement")
                assert said.splitlines()[-1].startswith("… fp32.onnx  preparing:")
                conversion.close()
                _, rest = process.communicate(timeout=_LIMIT_S)
                assert process.returncode == 0, said + rest
                assert "fp32.onnx  measured" in rest
            finally:
                process.kill()
