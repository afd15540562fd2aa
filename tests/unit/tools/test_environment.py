"""Which build of torch an environment gets."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tools.environment import ROOT, TORCH, how_to_use, torch_options, wheel_folders

WHEEL = f"torch-{TORCH}+cpu-cp311-cp311-manylinux_2_28_{platform.machine()}.whl"


@pytest.fixture(autouse=True)
def _nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGECONV_TORCH_BACKEND", raising=False)


def test_without_a_folder_the_cpu_backend_is_named() -> None:
    assert torch_options("cp311", []) == ["--torch-backend", "cpu"]


def test_a_fitting_wheel_in_a_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / WHEEL).touch()
    assert torch_options("cp311", [tmp_path]) == []


@pytest.mark.parametrize("tag", ["cp312", "cp313"])
def test_a_wheel_for_another_python_does_not_count(tmp_path: Path, tag: str) -> None:
    (tmp_path / WHEEL).touch()
    assert torch_options(tag, [tmp_path]) == ["--torch-backend", "cpu"]


def test_another_build_comes_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / WHEEL).touch()
    monkeypatch.setenv("EDGECONV_TORCH_BACKEND", "cu126")
    assert torch_options("cp311", [tmp_path]) == ["--torch-backend", "cu126"]


def test_folders_of_pip_are_found_and_addresses_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path} https://wheels.example/index.html")
    folders = wheel_folders(Path(sys.executable))
    assert tmp_path in folders
    assert all(folder.is_dir() for folder in folders)


def test_pinned_torch_is_the_one_that_is_looked_for() -> None:
    assert f"torch=={TORCH}" in (ROOT / "constraints.txt").read_text().splitlines()


def test_the_script_needs_nothing_but_the_standard_library() -> None:
    script = ROOT / "tools" / "environment.py"
    subprocess.run([sys.executable, "-I", "-S", script, "--help"], check=True, capture_output=True)


def test_it_says_how_the_environment_is_used(tmp_path: Path) -> None:
    assert how_to_use(tmp_path / ".venv", tmp_path) == (
        "Use it as .venv/bin/edgeconv, or as edgeconv after: source .venv/bin/activate"
    )
    assert f"{tmp_path}/e/bin/edgeconv" in how_to_use(tmp_path / "e", tmp_path / "other")
