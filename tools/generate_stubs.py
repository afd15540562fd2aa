"""Generates `edgeconv/v1` from `protos/`; with `--check`, compares instead of writing.

Everything in the folder but its `__init__.py` is generated: messages, gRPC stubs and
type stubs. Needs grpcio-tools, mypy-protobuf and googleapis-common-protos.
"""

from __future__ import annotations

import filecmp
import os
import sys
import tempfile
from pathlib import Path

import google.rpc.status_pb2 as status_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "edgeconv" / "v1"


def generate(out: Path) -> list[Path]:
    """Writes the stubs below `out` and gives their paths."""
    protos = sorted((ROOT / "protos" / "edgeconv" / "v1").glob("*.proto"))
    googleapis = Path(status_pb2.__file__).parent.parent.parent
    bundled = Path(protoc.__file__).parent / "_proto"
    # The plugins lie beside the interpreter, which need not be on the path.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    options = [f"-I{ROOT / 'protos'}", f"-I{googleapis}", f"-I{bundled}"]
    outputs = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    if protoc.main(["protoc", *options, *outputs, *map(str, protos)]):
        raise SystemExit("protoc failed")
    return sorted((out / "edgeconv" / "v1").iterdir())


def main() -> int:
    """Writes or compares; 1 when the committed stubs differ."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = {path.name: path for path in generate(Path(scratch))}
        committed = {path.name: path for path in TARGET.glob("*_pb2*")}
        stale = [
            name
            for name in sorted(fresh.keys() | committed.keys())
            if name not in fresh
            or name not in committed
            or not filecmp.cmp(fresh[name], committed[name], shallow=False)
        ]
        if "--check" in sys.argv:
            for name in stale:
                print(f"stale: edgeconv/v1/{name}; run `make stubs`")
            return 1 if stale else 0
        for name in stale:
            if name in fresh:
                (TARGET / name).write_bytes(fresh[name].read_bytes())
            else:
                committed[name].unlink()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
