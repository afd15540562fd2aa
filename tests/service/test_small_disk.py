"""Full and failing disks: a real one of a few MiB, in a mount namespace of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.small_disk_scenarios import SCENARIOS

_SCRIPT = Path(__file__).with_name("small_disk_scenarios.py")
_MOUNT = 'mount -t tmpfs -o size=24m,mode=700 edgeconv "$1/disk" && exec "$2" "$3" "$4" "$1"'


def _namespace() -> list[str]:
    """What gives a process mounts of its own; skips where this machine gives none."""
    for way in (["unshare", "-rm"], ["unshare", "-m"]):
        probe = [*way, "mount", "-t", "tmpfs", "probe", "/mnt"]
        if shutil.which("unshare") and not subprocess.run(probe, capture_output=True).returncode:
            return way
    pytest.skip("neither a user namespace nor root may mount a small disk here")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_disk_that_is_full_or_fails(scenario: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    command = [*_namespace(), "sh", "-c", _MOUNT, "sh", str(tmp_path)]
    done = subprocess.run(
        [*command, sys.executable, str(_SCRIPT), scenario],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-6000:]}"
