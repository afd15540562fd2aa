"""The machine's state, read from trees as different boards show them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from edgeconv.bench.device_state import read_machine, read_state
from edgeconv.bench.processors import count_cores, physical_cores, usable_processors


def _write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_raspberry_pi(tmp_path: Path) -> None:
    first = usable_processors()[0]
    _write(
        tmp_path,
        {
            f"sys/devices/system/cpu/cpu{first}/cpufreq/scaling_cur_freq": "1500000\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
            "sys/class/thermal/thermal_zone0/temp": "61835\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
            "proc/pressure/cpu": "some avg10=1.00 avg60=0.5 avg300=0.1 total=12345\n"
            "full avg10=0.00 avg60=0.00 avg300=0.00 total=99\n",
            "proc/loadavg": "0.52 0.58 0.59 1/467 12345\n",
            "proc/stat": "cpu  100 1 50 800 10 2 3 7 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n",
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/meminfo": "MemTotal:        3884384 kB\n",
        },
    )
    state = read_state(tmp_path)
    assert state["frequencies_khz"] == [1_500_000]
    assert state["temperatures_mc"] == {"thermal_zone0 cpu-thermal": 61835}
    assert state["throttle_bits"] == 0x50005
    assert state["pressure_us"] == {"cpu": 12345}
    assert state["load"] == 0.52
    assert state["processor_time"] is not None
    tick_ns = state["processor_time"]["stolen_ns"] // 7
    assert state["processor_time"]["busy_ns"] == 163 * tick_ns
    assert state["processor_time"]["total_ns"] == 973 * tick_ns
    machine = read_machine(tmp_path)
    assert machine["processor"] == "Raspberry Pi 4 Model B Rev 1.4"
    assert machine["governor"] == "ondemand"
    assert machine["memory_bytes"] == 3884384 * 1024


def test_what_is_not_there_is_none_and_not_zero(tmp_path: Path) -> None:
    state = read_state(tmp_path)
    assert state["processor_time"] is None
    assert state["frequencies_khz"] is None
    assert state["throttle_bits"] is None
    assert state["load"] is None
    assert state["temperatures_mc"] == {}
    assert state["pressure_us"] == {}
    assert read_machine(tmp_path)["memory_bytes"] is None


@pytest.mark.parametrize("text", ["", "garbage", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9"])
def test_an_odd_stat_file_tells_nothing(text: str, tmp_path: Path) -> None:
    assert read_state(_write(tmp_path, {"proc/stat": text}))["processor_time"] is None


def test_this_machine() -> None:
    before = read_state()
    deadline = time.process_time_ns() + 50_000_000
    while time.process_time_ns() < deadline:
        pass
    after = read_state()
    assert after["at_ns"] > before["at_ns"]
    assert after["own_cpu_ns"] - before["own_cpu_ns"] >= 50_000_000
    assert before["processor_time"] is not None
    assert after["processor_time"] is not None
    assert after["processor_time"]["busy_ns"] > before["processor_time"]["busy_ns"]
    assert read_machine()["physical_cores"] == physical_cores() <= len(usable_processors())


@pytest.mark.parametrize(
    ("siblings", "cores"),
    [
        ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, 2),
        ({0: "0", 1: "1"}, 2),
        ({0: "", 1: ""}, 2),
        ({}, 1),
    ],
)
def test_cores_are_counted_by_what_shares_one(siblings: dict[int, str], cores: int) -> None:
    assert count_cores(siblings) == cores
