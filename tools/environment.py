"""Makes the project's own environment in `.venv`, or does nothing when it is fresh.

Run by `make` with the system's Python; standard library only. The environment is stale when
`pyproject.toml`, `constraints.txt`, this file or the Python version changed since it was made.

The CPU build of torch comes from a local wheel folder where pip has one (`PIP_FIND_LINKS`
or pip's `find-links` setting), else from the CPU backend of uv. `EDGECONV_TORCH_BACKEND`
asks for another one, for example `cu126`; nothing else installs CUDA.

    python3 tools/environment.py                make `.venv`
    python3 tools/environment.py --system       also the Debian packages of the browser tests
    python3 tools/environment.py --production   edgeconv itself, without what develops it
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "2.13.0"
UV = "uv>=0.9"
OLDEST_PYTHON = (3, 11)
PRODUCTION = (".[server,agent,ort,tflite]",)
DEVELOPMENT = ("--editable", *PRODUCTION, "--group", "dev")
DEBIAN_PACKAGES = {"chromium": "chromium"}
"""Debian package → the program it brings."""


def main() -> int:
    """Makes what is missing; 1 with a line that says why it could not."""
    parser = argparse.ArgumentParser(description="Makes the project's own environment.")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--system", action="store_true", help="Debian packages of tests, too")
    parser.add_argument("--production", action="store_true", help="leave out what develops it")
    arguments = parser.parse_args()
    if tuple(map(int, platform.python_version_tuple()[:2])) < OLDEST_PYTHON:
        print(f"edgeconv needs Python 3.11 or newer; this is {platform.python_version()}.")
        return 1
    if arguments.system:
        install_debian_packages()
    stamp = arguments.venv / "edgeconv-stamp"
    wanted = PRODUCTION if arguments.production else DEVELOPMENT
    fingerprint = _fingerprint(wanted)
    if stamp.exists() and stamp.read_text() == fingerprint:
        return 0
    began = time.monotonic()
    print(f"Making {arguments.venv.name}: some 2.5 GB, a minute or two …", flush=True)
    try:
        _make(arguments.venv, wanted)
    except subprocess.CalledProcessError as failure:
        command = " ".join(str(part) for part in failure.cmd)
        print(f"The environment could not be made; this failed: {command}")
        return 1
    _refuse_cuda(arguments.venv)
    stamp.write_text(fingerprint)
    print(f"Made {arguments.venv.name} in {time.monotonic() - began:.0f} s.", flush=True)
    print(how_to_use(arguments.venv, Path.cwd()), flush=True)
    return 0


def how_to_use(venv: Path, folder: Path) -> str:
    """What to type from a folder, now that the environment stands."""
    near = venv.absolute()
    place = near.relative_to(folder) if near.is_relative_to(folder) else near
    return f"Use it as {place}/bin/edgeconv, or as edgeconv after: source {place}/bin/activate"


def install_debian_packages() -> None:
    """Installs missing packages as root; else prints the line that does."""
    missing = [name for name, program in DEBIAN_PACKAGES.items() if not shutil.which(program)]
    if not missing:
        return
    line = f"apt-get install -y --no-install-recommends {' '.join(missing)}"
    if os.geteuid() or not shutil.which("apt-get"):
        print(f"Missing: {', '.join(missing)}. Their tests are skipped. As root: {line}")
        return
    quiet = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet)
    if subprocess.run(line.split(), check=False, env=quiet).returncode:
        print(f"Could not install {', '.join(missing)}; their tests are skipped.")


def torch_options(tag: str, folders: list[Path]) -> list[str]:
    """How uv gets torch: from the first folder with a fitting wheel, else by a backend.

    Args:
        tag: The interpreter's tag in wheel names, for example "cp311".
        folders: Local wheel folders.
    """
    asked = os.environ.get("EDGECONV_TORCH_BACKEND")
    if asked:
        return ["--torch-backend", asked]
    fitting = f"torch-{TORCH}*-{tag}-*{platform.machine()}.whl"
    if any(any(folder.glob(fitting)) for folder in folders):
        return []
    return ["--torch-backend", "cpu"]


def wheel_folders(python: Path) -> list[Path]:
    """The local folders that pip looks for wheels in."""
    given = os.environ.get("PIP_FIND_LINKS", "")
    command = [str(python), "-m", "pip", "config", "get", "global.find-links"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    places = dict.fromkeys([*given.split(), *told.stdout.split()])
    return [Path(place) for place in places if Path(place).is_dir()]


def _make(venv: Path, wanted: tuple[str, ...]) -> None:
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", UV], check=True)
    folders = wheel_folders(python)
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    environment = dict(os.environ)
    if folders:
        environment["UV_FIND_LINKS"] = ",".join(map(str, folders))
    command = [
        *(str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(python)),
        *("--constraint", "constraints.txt", *torch_options(tag, folders)),
        *wanted,
    ]
    subprocess.run(command, check=True, cwd=ROOT, env=environment)


def _refuse_cuda(venv: Path) -> None:
    if os.environ.get("EDGECONV_TORCH_BACKEND"):
        return
    cuda = sorted(path.name for path in venv.glob("lib/python*/site-packages/nvidia_*.dist-info"))
    if cuda:
        raise SystemExit(f"A CUDA build of torch was installed, which nobody asked for: {cuda[0]}")


def _fingerprint(wanted: tuple[str, ...]) -> str:
    content = hashlib.sha256(repr((platform.python_version(), wanted)).encode())
    for name in ("pyproject.toml", "constraints.txt", "tools/environment.py"):
        content.update((ROOT / name).read_bytes())
    return content.hexdigest()


if __name__ == "__main__":
    raise SystemExit(main())
