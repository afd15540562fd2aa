"""The command line is quick, and honest where only its base is installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_HELP_CPU_S = 0.3
_HEAVY = ("grpc", "pydantic", "rich", "numpy", "torch", "onnx", "sqlalchemy", "jinja2", "asyncio")


def _cpu_s(*command: str) -> float:
    """Processor seconds of a command, user and system."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def test_help_takes_less_than_three_tenths_of_a_second() -> None:
    assert min(_cpu_s(sys.executable, "-m", "edgeconv", "--help") for _ in range(3)) < _HELP_CPU_S


@pytest.mark.parametrize("command", ["--help", "convert --help", "jobs list --help", "--version"])
def test_help_loads_nothing_heavy(command: str) -> None:
    code = (
        "import sys\nfrom edgeconv.cli.main import main\n"
        "try:\n    main(sys.argv[1:], prog_name='edgeconv')\n"
        f"finally:\n    print([m for m in {_HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def _closure(package: str) -> set[str]:
    """The packages that a bare install of edgeconv brings."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for line in metadata.requires(name) or []:
            requirement, _, marker = line.partition(";")
            if "extra" not in marker and "python_version" not in marker:
                waiting += re.findall(r"^[A-Za-z0-9._-]+", requirement)
    return found - {"edgeconv"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment for processes that see edgeconv's base packages and no others."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "edgeconv").symlink_to(_ROOT / "edgeconv")
    for package in _closure("edgeconv"):
        distribution = metadata.distribution(package)
        for top in {Path(str(file)).parts[0] for file in distribution.files or []} - {".."}:
            source = Path(str(distribution.locate_file(top)))
            if source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(folder)}


def _bare(bare: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    # -S leaves the environment's own packages out.
    return subprocess.run(
        [sys.executable, "-S", "-m", "edgeconv", *words],
        env=bare, cwd=bare["HOME"], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_bare_environment_is_bare(bare: dict[str, str]) -> None:
    checks = json.loads(_bare(bare, "doctor", "--json").stdout)["checks"]
    states = {check["name"]: check for check in checks}
    assert states["extra server"]["state"] == "warn"
    assert "torch" in states["extra server"]["message"]
    assert states["versions"]["message"] == "nothing that makes artifacts is installed"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("up", "--state", "state"), "pip install 'edgeconv[server]'"),
        (("serve", "--state", "state"), "pip install 'edgeconv[server]'"),
        (("inspect", "model.onnx"), "pip install 'edgeconv[server]'"),
        (("convert", "model.onnx", "--state", "state"), "pip install 'edgeconv[server]'"),
        (("bench", "model.onnx"), "pip install 'edgeconv[ort]'"),
        (("bench", "model.tflite"), "pip install 'edgeconv[tflite]'"),
    ],
    ids=str,
)
def test_a_missing_extra_comes_with_the_line_that_installs_it(
    bare: dict[str, str], words: tuple[str, ...], line: str
) -> None:
    for name in ("model.onnx", "model.tflite"):
        (Path(bare["HOME"]) / name).write_bytes(b"\x08\x00\xff")
    done = _bare(bare, *words)
    assert done.returncode == 3, done.stderr
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert not (Path(bare["HOME"]) / "model-edgeconv").exists()


@pytest.mark.parametrize("words", [("recipes", "schema"), ("schema",), ("recipes", "show")])
def test_what_needs_no_extra_works_without(bare: dict[str, str], words: tuple[str, ...]) -> None:
    done = _bare(bare, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout
