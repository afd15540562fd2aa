"""The demo in its quick form: real models, real service, real measurements."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_quick_demo_ends_by_itself_and_keeps_its_promises(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--quick", "--out", str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "Every promise held." in done.stdout
    assert "channels removed" in done.stdout
    for model in ("text-direction", "digits"):
        written = {path.suffix for path in (tmp_path / model).rglob("*")}
        assert {".html", ".onnx", ".tflite"} <= written
