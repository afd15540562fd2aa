"""What made an artifact: package versions and the CPU's class. Loads none of the packages."""

from __future__ import annotations

import functools
import platform
from importlib import metadata
from pathlib import Path

from edgeconv.base.digests import digest_json

ARTIFACT_PACKAGES = (
    "torch", "litert-torch", "litert-converter", "ai-edge-litert", "ai-edge-quantizer",
    "torchao", "jax", "jaxlib", "flatbuffers", "ml-dtypes", "onnx",
    "onnx-ir", "onnxruntime", "onnxscript", "numpy",
)  # fmt: skip
"""What can change an artifact's bytes; pinned exactly by the `server` extra."""


@functools.cache
def toolchain() -> dict[str, str]:
    """Version of Python and of every installed package that can change an artifact."""
    versions = {"python": platform.python_version()}
    for package in ARTIFACT_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def cpu_class() -> str:
    """Architecture and a digest of the instruction sets, on which float sums depend."""
    flags: list[str] = []
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("flags", "Features")):
                flags = sorted(set(line.partition(":")[2].split()))
                break
    return f"{platform.machine()}-{digest_json(flags)[7:15]}"
