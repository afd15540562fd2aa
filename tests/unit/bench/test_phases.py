"""How the phases of a process are timed. The work here is real: it spins or allocates."""

from __future__ import annotations

import mmap
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from edgeconv.bench import record
from edgeconv.bench.phases import Meter, Series
from edgeconv.bench.request import EFFORTS, Effort

MS = 1_000_000
BRIEF = Effort(
    processes=1,
    least_samples=3,
    least_s=0.0,
    limit_s=0.05,
    settle_within=None,
    settle_samples=0,
    warm_loads=1,
    idle_inferences=2,
    idle_s=0.01,
)


def _spin(milliseconds: float) -> Callable[[Mapping[str, Any]], None]:
    def run(feeds: Mapping[str, Any]) -> None:
        deadline = time.monotonic_ns() + round(milliseconds * MS)
        while time.monotonic_ns() < deadline:
            pass

    return run


def _meter(effort: Effort = BRIEF) -> tuple[Meter, list[tuple[str, float]]]:
    said: list[tuple[str, float]] = []
    return Meter(effort, lambda phase, fraction: said.append((phase, fraction))), said


def _phase(meter: Meter, name: str) -> record.PhaseRecord:
    return next(phase for phase in meter.phases if phase["phase"] == name)


def test_a_loaded_model_goes_through_its_phases_in_order() -> None:
    meter, said = _meter()
    meter.infer(_spin(1), [{}])
    assert [phase["phase"] for phase in meter.phases] == ["warm_up", "steady", "post_idle"]
    assert [phase for phase, _ in said] == ["warm_up", "steady", "post_idle"]
    for phase in meter.phases:
        assert phase["began_ns"] <= phase["ended_ns"]
        assert len(phase["wall_ns"]) == len(phase["cpu_ns"])
        assert all(sample >= MS for sample in phase["wall_ns"])


def test_the_steady_state_ends_at_its_limit() -> None:
    meter, _ = _meter()
    meter.infer(_spin(1), [{}])
    steady = _phase(meter, record.STEADY)
    assert steady["ended_ns"] - steady["began_ns"] >= 50 * MS
    assert sum(steady["wall_ns"][:-1]) < 50 * MS


def test_a_slow_model_still_gets_its_least_samples() -> None:
    meter, _ = _meter()
    meter.infer(_spin(40), [{}])
    assert len(_phase(meter, record.STEADY)["wall_ns"]) == 3


def test_warming_up_goes_on_while_it_gets_faster() -> None:
    meter, _ = _meter()
    times = iter([20.0, 18, 16, 14, 12, 10, 8, 6, 4, 2])

    def run(feeds: Mapping[str, Any]) -> None:
        _spin(next(times, 1.0))(feeds)

    meter.infer(run, [{}])
    assert len(_phase(meter, record.WARM_UP)["wall_ns"]) > 10


def test_warming_up_takes_three_tenths_of_a_second_at_most() -> None:
    meter, _ = _meter()
    meter.infer(_spin(130), [{}])
    # Two where a loaded machine stretches them, never a fourth.
    assert 1 <= len(_phase(meter, record.WARM_UP)["wall_ns"]) <= 3


def test_samples_are_used_in_turn() -> None:
    meter, _ = _meter()
    seen: list[int] = []

    def run(feeds: Mapping[str, Any]) -> None:
        seen.append(feeds["x"])
        _spin(1)(feeds)

    meter.infer(run, [{"x": 0}, {"x": 1}, {"x": 2}])  # type: ignore[dict-item]
    assert seen == [place % 3 for place in range(len(seen))]


def test_idle_time_is_outside_of_the_samples() -> None:
    meter, _ = _meter()
    meter.infer(_spin(0.1), [{}])
    idle = _phase(meter, record.POST_IDLE)
    assert len(idle["wall_ns"]) == 2
    assert idle["ended_ns"] - idle["began_ns"] >= 20 * MS
    assert sum(idle["wall_ns"]) < 10 * MS


def test_running_out_of_room_is_said() -> None:
    # There is room for 10,000 samples, which take a fraction of the 10 s that are asked.
    endless = Effort(1, 3, 10.0, 0.1, None, 0, 1, 0, 0.0)
    meter, _ = _meter(endless)
    meter.infer(lambda feeds: None, [{}])
    assert len(_phase(meter, record.STEADY)["wall_ns"]) == 10_000
    assert len(meter.notes) == 1
    assert re.match(r"Steady state ended at 10000 samples after \d\.\d", meter.notes[0])
    roomy, _ = _meter()
    roomy.infer(_spin(1), [{}])
    assert roomy.notes == []


def test_the_machine_is_looked_at_before_between_and_after() -> None:
    meter, _ = _meter()
    meter.infer(_spin(1), [{}])
    times = [state["at_ns"] for state in meter.states]
    steady = _phase(meter, record.STEADY)
    assert times == sorted(times)
    assert times[0] < meter.phases[0]["began_ns"]
    assert any(
        _phase(meter, record.WARM_UP)["ended_ns"] <= at <= steady["began_ns"] for at in times
    )
    assert times[-1] >= meter.phases[-1]["ended_ns"]


def test_each_phase_has_a_high_water_mark_of_its_own() -> None:
    meter, _ = _meter()
    # Mapped, since an allocator may have that much left over, already resident.
    with meter.phase("large"), mmap.mmap(-1, 64 << 20) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
    with meter.phase("small"):
        pass
    large, small = meter.phases
    assert meter.peaks_reset
    assert large["peak_bytes"] - small["peak_bytes"] > 50 << 20


def test_a_series_has_its_room_before_the_first_sample() -> None:
    room = EFFORTS["thorough"].most_samples
    series = Series(room)
    meter, _ = _meter()
    with meter.phase("x", series=series):
        for _ in range(20_000):
            series.time(int)
    before = meter.phases[-1]
    assert len(before["wall_ns"]) == 20_000
    # Listing them comes after the mark is read; 20,000 samples are 320 KB.
    assert series.thinned_wall_ns(4096).buffer_info()[1] <= 4096


def test_a_series_gives_the_result_of_what_it_times() -> None:
    series = Series(4)
    assert series.time(max, 3, 7) == 7
    assert series.count == 1
    assert len(series.wall_ns) == len(series.cpu_ns) == 1
