"""Times the phases of one process. Only children import this module."""

from __future__ import annotations

import itertools
import resource
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edgeconv.analysis.steadiness import has_warmed_up, median_is_settled
from edgeconv.base.quantities import NS_PER_S
from edgeconv.bench import record
from edgeconv.bench.device_state import DeviceState, read_state
from edgeconv.bench.memory import read_peak, reset_peak
from edgeconv.bench.record import PhaseRecord
from edgeconv.bench.request import Effort

if TYPE_CHECKING:
    from edgeconv.bench.inputs import Feeds

WARM_UP_LIMIT_S = 0.3
_STATE_EVERY_NS = NS_PER_S
_CHECK_GROWTH = 1.25
_MOST_CHECKED = 4096

Announce = Callable[[str, float], None]
Run = Callable[[Mapping[str, Any]], object]


class Series:
    """Wall and processor time of each sample, in nanoseconds.

    Its room is taken and touched at once, so that it does not grow into the memory of the
    phase that it records.
    """

    def __init__(self, room: int) -> None:
        self._wall = array("q", bytes(8 * room))
        self._cpu = array("q", bytes(8 * room))
        self.count = 0

    def time(self, action: Callable[..., Any], *arguments: object) -> Any:
        """Runs an action as one sample, and gives its result."""
        cpu_ns, wall_ns = time.process_time_ns(), time.monotonic_ns()
        result = action(*arguments)
        wall_ns = time.monotonic_ns() - wall_ns
        self._cpu[self.count] = time.process_time_ns() - cpu_ns
        self._wall[self.count] = wall_ns
        self.count += 1
        return result

    def thinned_wall_ns(self, most: int) -> array[int]:
        """Wall times of evenly spaced samples, `most` at most."""
        return self._wall[: self.count : -(-self.count // most) or 1]

    @property
    def wall_ns(self) -> list[int]:
        """Wall time of each sample."""
        return self._wall[: self.count].tolist()

    @property
    def cpu_ns(self) -> list[int]:
        """Processor time of each sample, all threads."""
        return self._cpu[: self.count].tolist()


class Meter:
    """Records phases, and the machine's state each second between samples.

    Args:
        announce: Told the phase and how far it is (0 to 1; -1 unknown), each second at
            most, never while a sample runs.
        effort: How long the phases go on.
    """

    def __init__(self, effort: Effort, announce: Announce) -> None:
        self.phases: list[PhaseRecord] = []
        self.states: list[DeviceState] = []
        self.notes: list[str] = []
        self.peaks_reset = True
        self._effort = effort
        self._announce = announce
        self._steady = Series(effort.most_samples)
        self._look()

    @contextmanager
    def phase(self, name: str, *, series: Series | None = None) -> Iterator[Series]:
        """A phase; its samples are those that its body times."""
        self._announce(name, -1.0)
        series = series or Series(64)
        self.peaks_reset &= reset_peak()
        switches = _involuntary_switches()
        began_ns = time.monotonic_ns()
        yield series
        ended_ns = time.monotonic_ns()
        switches = _involuntary_switches() - switches
        peak = read_peak()
        self.phases.append(
            PhaseRecord(
                phase=name,
                began_ns=began_ns,
                ended_ns=ended_ns,
                wall_ns=series.wall_ns,
                cpu_ns=series.cpu_ns,
                involuntary_switches=switches,
                peak_bytes=peak.peak_bytes,
                anonymous_bytes=peak.anonymous_bytes,
                file_bytes=peak.file_bytes,
            )
        )

    def infer(self, run: Run, samples: list[Feeds]) -> None:
        """The phases of a loaded model: warm-up, steady state, after idling."""
        feeds = itertools.cycle(samples)
        self._warm_up(run, feeds)
        self._look()
        self._steady_state(run, feeds)
        self._look()
        with self.phase(record.POST_IDLE) as series:
            for _ in range(self._effort.idle_inferences):
                time.sleep(self._effort.idle_s)
                series.time(run, next(feeds))
        self._look()

    def _warm_up(self, run: Run, feeds: Iterator[Feeds]) -> None:
        room = 4096
        with self.phase(record.WARM_UP, series=Series(room)) as series:
            end_ns = time.monotonic_ns() + round(WARM_UP_LIMIT_S * NS_PER_S)
            while True:
                series.time(run, next(feeds))
                if time.monotonic_ns() >= end_ns or series.count == room:
                    break
                if series.count % 10 == 0 and has_warmed_up(series.wall_ns[-10:]):
                    break

    def _steady_state(self, run: Run, feeds: Iterator[Feeds]) -> None:
        effort, series = self._effort, self._steady
        settled = _settled_check(series, effort.settle_within or 0.0)
        with self.phase(record.STEADY, series=series):
            began_ns = looked_ns = time.monotonic_ns()
            while True:
                series.time(run, next(feeds))
                now_ns = time.monotonic_ns()
                elapsed_s = (now_ns - began_ns) / NS_PER_S
                if now_ns - looked_ns >= _STATE_EVERY_NS:
                    looked_ns = now_ns
                    self._look()
                    self._announce(record.STEADY, min(elapsed_s / effort.limit_s, 1.0))
                if effort.is_done(series.count, elapsed_s, settled):
                    break
        if series.count >= effort.most_samples and elapsed_s < effort.limit_s:
            self.notes.append(
                f"Steady state ended at {series.count} samples after {elapsed_s:.2f} s: "
                "there is no room for more."
            )

    def _look(self) -> None:
        self.states.append(read_state())


def _settled_check(series: Series, within: float) -> Callable[[], bool]:
    """Whether the median is settled, looked at ever more seldom: it costs a sort.

    It looks at 4,096 samples at most, so that its memory does not count in the phase.
    Fewer samples make the interval wider, never narrower.
    """
    check_at = 1

    def settled() -> bool:
        nonlocal check_at
        if series.count < check_at:
            return False
        check_at = round(series.count * _CHECK_GROWTH) + 1
        return median_is_settled(series.thinned_wall_ns(_MOST_CHECKED), within=within)

    return settled


def _involuntary_switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
