"""The import contracts hold, and they can break."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_import_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout


def test_a_layer_that_imports_upwards_is_found(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "edgeconv", tmp_path / "edgeconv")
    (tmp_path / "edgeconv" / "base" / "upwards.py").write_text("import edgeconv.server\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert "edgeconv.base.upwards -> edgeconv.server" in done.stdout
