"""What else this machine does and how it feels: clocks, heat, throttling, load.

Sources: the kernel's documentation of cpufreq, thermal zones, /proc/stat, /proc/loadavg
and pressure stall information; Raspberry Pi's documentation of `get_throttled`. What a
machine does not offer is None, never 0.
"""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import TypedDict

from edgeconv.bench.processors import physical_cores, usable_processors

_ROOT = Path("/")
_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


class ProcessorTime(TypedDict):
    """Processor time of the whole machine since its start, over all processors, in ns."""

    busy_ns: int
    stolen_ns: int
    total_ns: int


class DeviceState(TypedDict):
    """The machine at one moment.

    Attributes:
        at_ns: Monotonic time.
        own_cpu_ns: Processor time of this process, all threads.
        processor_time: None where /proc/stat is hidden.
        frequencies_khz: Per processor, in order; None where there is no cpufreq.
        temperatures_mc: Thousandths of a degree Celsius by thermal zone.
        throttle_bits: Raspberry Pi: 0 under-voltage, 1 frequency capped, 2 throttled,
            3 soft temperature limit; 16 to 19 the same since the last reading.
        pressure_us: Microseconds in which some task waited for "cpu", "memory", "io".
        load: Tasks that ran or waited, averaged over a minute.
    """

    at_ns: int
    own_cpu_ns: int
    processor_time: ProcessorTime | None
    frequencies_khz: list[int] | None
    temperatures_mc: dict[str, int]
    throttle_bits: int | None
    pressure_us: dict[str, int]
    load: float | None


class Machine(TypedDict):
    """What does not change during a measurement."""

    processor: str
    architecture: str
    kernel: str
    usable_processors: list[int]
    physical_cores: int
    governor: str | None
    memory_bytes: int | None


def read_state(root: Path = _ROOT) -> DeviceState:
    """Reads the state now; some tenths of a millisecond.

    Args:
        root: Another root than the machine's, for trees that were recorded elsewhere.
    """
    return DeviceState(
        at_ns=time.monotonic_ns(),
        own_cpu_ns=time.process_time_ns(),
        processor_time=_processor_time(_text(root / "proc/stat")),
        frequencies_khz=_frequencies(root),
        temperatures_mc=_temperatures(root),
        throttle_bits=_throttle_bits(_text(root / _THROTTLED)),
        pressure_us=_pressure(root),
        load=_load(_text(root / "proc/loadavg")),
    )


def read_machine(root: Path = _ROOT) -> Machine:
    """Reads what the machine is."""
    return Machine(
        processor=_processor_name(
            _text(root / "proc/cpuinfo"), _text(root / "proc/device-tree/model")
        ),
        architecture=platform.machine(),
        kernel=platform.release(),
        usable_processors=usable_processors(),
        physical_cores=physical_cores(),
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        memory_bytes=_memory_bytes(_text(root / "proc/meminfo")),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip().strip("\0")
    except OSError:
        return ""


def _number(text: str, base: int = 10) -> int | None:
    try:
        return int(text, base)
    except ValueError:
        return None


def _processor_time(text: str) -> ProcessorTime | None:
    words = text.partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu":
        return None
    # user nice system idle iowait irq softirq steal; guests are in user already.
    ticks = [int(word) for word in words[1:9]]
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]
    return ProcessorTime(
        busy_ns=(sum(ticks) - idle) * tick_ns,
        stolen_ns=ticks[7] * tick_ns,
        total_ns=sum(ticks) * tick_ns,
    )


def _frequencies(root: Path) -> list[int] | None:
    found = [
        _number(_text(root / f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq"))
        for number in usable_processors()
    ]
    known = [value for value in found if value is not None]
    return known or None


def _temperatures(root: Path) -> dict[str, int]:
    temperatures = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value = _number(_text(zone / "temp"))
        if value is not None:
            temperatures[f"{zone.name} {_text(zone / 'type')}".strip()] = value
    return temperatures


def _throttle_bits(text: str) -> int | None:
    return _number(text, 16)


def _pressure(root: Path) -> dict[str, int]:
    pressure = {}
    for kind in ("cpu", "memory", "io"):
        for line in _text(root / "proc/pressure" / kind).splitlines():
            total = _number(line.rpartition("total=")[2])
            if line.startswith("some") and total is not None:
                pressure[kind] = total
    return pressure


def _load(text: str) -> float | None:
    words = text.split()
    return float(words[0]) if words else None


def _processor_name(cpuinfo: str, board: str) -> str:
    if board:
        return board
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    return platform.machine()


def _memory_bytes(text: str) -> int | None:
    for line in text.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None
