"""What a device is and can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Capabilities:
    """What a driver reads from its device; the fields are those of the wire's message.

    Attributes:
        runtimes: Name of each runtime that is installed, with its version.
        architecture: "x86_64", "aarch64", "armv7l": that of the kernel.
        userland_32_bit: Whether processes have pointers of 32 bits; a 64-bit kernel can
            carry a 32-bit system.
        cpu: Board or CPU model in words.
        cores: Physical cores.
        memory_bytes: 0 when unknown.
        os: Operating system in words.
        kind: Name of its kind in the catalogue; empty when unknown.
    """

    runtimes: Mapping[str, str] = field(default_factory=dict)
    architecture: str = ""
    userland_32_bit: bool = False
    cpu: str = ""
    cores: int = 0
    memory_bytes: int = 0
    os: str = ""
    kind: str = ""
