"""What installing costs and leaves out, in environments of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_AGENT_BYTES = 150_000_000
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info")


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done


def sources(folder: Path) -> Path:
    """What an installation needs of the project, so that nothing is built in the clone."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "edgeconv", folder / "edgeconv", ignore=IGNORED)
    return folder


def size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


@pytest.fixture(scope="module")
def agent_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with `edgeconv[agent]`."""
    folder = tmp_path_factory.mktemp("install")
    run(sys.executable, "-m", "venv", folder / "venv")
    run(folder / "venv/bin/pip", "install", "-q", f"{sources(folder / 'source')}[agent]")
    return folder / "venv"


def test_an_agent_takes_less_than_150_mb(agent_environment: Path) -> None:
    assert size_bytes(agent_environment) < MAX_AGENT_BYTES


def test_an_agent_brings_no_heavy_library(agent_environment: Path) -> None:
    told = run(agent_environment / "bin/pip", "list", "--format=freeze").stdout.lower()
    names = {line.partition("==")[0] for line in told.splitlines()}
    heavy = {"numpy", "torch", "onnx", "onnxruntime", "ai-edge-litert", "sqlalchemy", "jax"}
    assert names.isdisjoint(heavy)


@pytest.mark.parametrize("command", ["--help", "agent --help", "convert --help"])
def test_commands_explain_themselves_without_extras(agent_environment: Path, command: str) -> None:
    assert "Usage" in run(agent_environment / "bin/edgeconv", *command.split()).stdout


def test_a_command_without_its_extra_prints_the_line_that_installs_it(
    agent_environment: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"\x08")
    done = subprocess.run(
        [agent_environment / "bin/edgeconv", "convert", model],
        cwd=tmp_path,
        env={**os.environ, "EDGECONV_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "pip install" in done.stderr
    assert "edgeconv[server]" in done.stderr


def docker_instructions() -> Iterator[tuple[str, list[str]]]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word.isupper():
            yield word, rest.split()


def test_dockerfile_passes_its_linter() -> None:
    run(Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile")


@pytest.mark.timeout(900)
def test_lines_of_the_dockerfile_install_what_converts(tmp_path: Path) -> None:
    """COPY into an empty folder, RUN there, and the entry point answers."""
    source, venv = tmp_path / "src", tmp_path / "venv"
    source.mkdir()
    for word, arguments in docker_instructions():
        if word == "COPY":
            *given, target = arguments
            for name in given:
                place = source / target / (name if target == "./" else "")
                place.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, place, ignore=IGNORED)
                else:
                    shutil.copy(ROOT / name, place)
        elif word == "RUN":
            line = [argument.replace("/venv", str(venv)) for argument in arguments]
            run(*line, cwd=source)
    shutil.rmtree(source)
    assert "Usage" in run(venv / "bin/edgeconv", "--help").stdout
    code = "import edgeconv.server.app, edgeconv.conversion.steps, litert_torch, onnxruntime"
    run(venv / "bin/python", "-c", code, env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"})
