"""What this machine is and can do, read without loading anything."""

from __future__ import annotations

import platform
import struct
from dataclasses import replace
from pathlib import Path

from edgeconv.bench.device_state import read_machine
from edgeconv.catalog.capabilities import Capabilities
from edgeconv.catalog.kinds import match
from edgeconv.runtimes.catalogue import RUNTIMES

_OS_RELEASE = Path("/etc/os-release")


def read_capabilities() -> Capabilities:
    """Reads what this machine is and can do."""
    machine = read_machine()
    found = Capabilities(
        runtimes=_runtimes(),
        architecture=machine["architecture"],
        userland_32_bit=struct.calcsize("P") == 4,
        cpu=machine["processor"],
        cores=machine["physical_cores"],
        memory_bytes=machine["memory_bytes"] or 0,
        os=_os_words(),
    )
    return replace(found, kind=match(found))


def os_title(os_release: str) -> str:
    """PRETTY_NAME out of the text of an os-release file; empty when it has none.

    See os-release(5): values may stand in single or double quotes.
    """
    for line in os_release.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "PRETTY_NAME":
            return value.strip().strip("\"'")
    return ""


def _runtimes() -> dict[str, str]:
    versions = {spec.name: spec.installed_version() for spec in RUNTIMES}
    return {name: version for name, version in versions.items() if version}


def _os_words() -> str:
    try:
        title = os_title(_OS_RELEASE.read_text(errors="replace"))
    except OSError:
        title = ""
    return f"{title or platform.system()}, kernel {platform.release()}"
