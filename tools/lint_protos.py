"""Runs `buf lint` over `protos/`; buf comes from npm into `build/` when it is not there.

The protos of googleapis that ours import are copied from the installed package, so that
nothing is vendored and no schema registry is asked.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
BUF_VERSION = "1.75.0"


def main() -> int:
    """The exit code of `buf lint`, or 1 when buf can't be had."""
    copy_googleapis(BUILD / "googleapis")
    program = find_buf()
    if program is None:
        print("buf lint needs npm: apt-get install -y npm")
        return 1
    return subprocess.run([program, "lint"], cwd=ROOT, check=False).returncode


def copy_googleapis(target: Path) -> None:
    """Copies `google/api` and `google/rpc` of googleapis-common-protos below `target`."""
    spec = importlib.util.find_spec("google.rpc")
    if spec is None or spec.submodule_search_locations is None:
        raise RuntimeError("googleapis-common-protos is not installed")
    source = Path(next(iter(spec.submodule_search_locations))).parent
    for package in ("api", "rpc"):
        for proto in (source / package).glob("*.proto"):
            place = target / "google" / package / proto.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(proto, place)


def find_buf() -> Path | None:
    """buf's program below `build`, installed there with npm when it is missing."""
    folder = BUILD / f"buf-{BUF_VERSION}"
    program = folder / "node_modules" / ".bin" / "buf"
    if program.exists():
        return program
    npm = shutil.which("npm")
    if npm is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    package = f"@bufbuild/buf@{BUF_VERSION}"
    command = [npm, "install", "--no-save", "--silent", "--prefix", str(folder), package]
    done = subprocess.run(command, check=False, env=dict(os.environ, CI="1"))
    return program if done.returncode == 0 and program.exists() else None


if __name__ == "__main__":
    raise SystemExit(main())
