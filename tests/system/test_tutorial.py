"""The tutorial's blocks run as they are printed, in order, in one empty folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeconv.base.state_folder import read_endpoint

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "docs" / "tutorial.md").read_text())


def run_block(language: str, text: str, folder: Path, state: Path) -> None:
    """Runs a block as a reader would, with the tests' own environment."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "EDGECONV_STATE": str(state),
        "NO_COLOR": "1",
    }
    command = {
        "bash": ["bash", "-euo", "pipefail", "-m", "-c", text],
        "python": [sys.executable, "-c", text],
    }[language]
    # A file, not a pipe: what a failed block leaves running must not keep the test waiting.
    log = folder.parent / "block.log"
    with log.open("w") as output:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    said = log.read_text()[-4000:]
    assert done.returncode == 0, f"{text}\nended with {done.returncode}:\n{said}"


def end_server(state: Path) -> None:
    """Ends the server that a failed block left running, if there is one."""
    lock = state / "lock"
    if read_endpoint(state) is not None:
        os.kill(int(lock.read_text()), signal.SIGTERM)


@pytest.mark.timeout(900)
def test_tutorial_runs_as_it_is_printed(tmp_path: Path) -> None:
    found = blocks()
    assert {language for language, _ in found} == {"bash", "python"}
    folder = tmp_path / "reader"
    folder.mkdir()
    try:
        for language, text in found:
            run_block(language, text, folder, tmp_path / "state")
    finally:
        end_server(tmp_path / "state")
    left = {path.name for path in (folder / "quarters-edgeconv").iterdir()}
    assert "report.html" in left
