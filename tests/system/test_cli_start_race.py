"""A command that finds the state folder taken by a server that is still starting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from edgeconv.base.state_folder import locked
from edgeconv.testing.tiny_files import write_dense_onnx


def test_a_command_waits_for_the_server_that_is_starting(tmp_path: Path) -> None:
    model = write_dense_onnx(tmp_path / "dense.onnx")
    state = tmp_path / "state"
    edgeconv = [sys.executable, "-m", "edgeconv"]
    flags = ["--target", "onnx", "--precision", "fp32", "--device", "none"]
    quiet = {**os.environ, "EDGECONV_STATE": str(state)}
    with locked(state):  # as a server does from its first moment, long before it listens
        convert = subprocess.Popen(
            [*edgeconv, "convert", str(model), *flags, "--out", str(tmp_path / "made")],
            env=quiet,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert convert.stderr is not None
        said = [""]
        for line in iter(convert.stderr.readline, ""):
            said.append(line)
            if "waiting for it" in line:
                break
        assert "waiting for it" in said[-1], said
    with subprocess.Popen([*edgeconv, "up"], env=quiet, stdout=subprocess.DEVNULL) as up:
        try:
            assert convert.wait(timeout=120) == 0, convert.stderr.read()
            assert (tmp_path / "made" / "result.json").exists()
        finally:
            up.terminate()
            convert.stderr.close()
