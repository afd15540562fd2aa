"""Whether a measurement can be trusted, and why not: pure, from the raw record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from edgeconv.analysis.order_statistics import median
from edgeconv.analysis.steadiness import disagreement
from edgeconv.base.quantities import format_ns
from edgeconv.bench.device_state import DeviceState
from edgeconv.bench.record import STEADY, Block, Record, phase_of

STABLE = "stable"
UNSTABLE = "unstable"

OTHER_LOAD_SHARE = 0.10
"""Share of all processors' time that other work may take."""
STOLEN_SHARE = 0.02
"""Share of all processors' time that a hypervisor may take."""
FREQUENCY_DROP = 0.10
"""Share by which the fastest processor's clock may change."""
PROCESS_DISAGREEMENT = 0.10
"""Share of their median by which the processes' medians may lie apart."""

_THROTTLE_WORDS = {
    0: "under-voltage",
    1: "the clock was capped",
    2: "it was throttled",
    3: "the soft temperature limit was reached",
}
_SINCE_LAST_READING = 16


def verdict(record: Record) -> tuple[str, tuple[str, ...]]:
    """ "stable", or "unstable" with a sentence for each reason."""
    blocks = record["blocks"]
    reasons = (*_throttled(blocks), *_load(blocks), *_frequency(blocks), *_disagreement(blocks))
    return (UNSTABLE if reasons else STABLE), reasons


def _throttled(blocks: Sequence[Block]) -> Iterator[str]:
    bits = 0
    for block in blocks:
        # What "has happened" at the first reading happened before this process began.
        for place, state in enumerate(block["states"]):
            now = state["throttle_bits"] or 0
            bits |= now if place == 0 else now | now >> _SINCE_LAST_READING
    for bit, words in _THROTTLE_WORDS.items():
        if bits >> bit & 1:
            yield f"The device held back: {words}."


def _load(blocks: Sequence[Block]) -> Iterator[str]:
    total = others = stolen = 0
    for block in blocks:
        states = [state for state in block["states"] if state["processor_time"] is not None]
        for before, after in pairwise(states):
            passed, busy, taken = _between(before, after)
            total += passed
            stolen += taken
            others += busy - taken - (after["own_cpu_ns"] - before["own_cpu_ns"])
    if total and others / total > OTHER_LOAD_SHARE:
        yield f"Other work took {others / total:.0%} of the processors' time."
    if total and stolen / total > STOLEN_SHARE:
        yield f"The host gave {stolen / total:.0%} of the processors' time to other machines."


def _between(before: DeviceState, after: DeviceState) -> tuple[int, int, int]:
    first, last = before["processor_time"], after["processor_time"]
    assert first is not None
    assert last is not None
    return (
        last["total_ns"] - first["total_ns"],
        last["busy_ns"] - first["busy_ns"],
        last["stolen_ns"] - first["stolen_ns"],
    )


def _frequency(blocks: Sequence[Block]) -> Iterator[str]:
    fastest = [
        max(state["frequencies_khz"])
        for block in blocks
        for state in _during_steady(block)
        if state["frequencies_khz"]
    ]
    if fastest and min(fastest) < (1 - FREQUENCY_DROP) * max(fastest):
        low, high = min(fastest) / 1000, max(fastest) / 1000
        yield f"The clock changed between {low:.0f} and {high:.0f} MHz."


def _during_steady(block: Block) -> list[DeviceState]:
    steady = phase_of(block, STEADY)
    if steady is None:
        return []
    # The machine is looked at right before the phase and right after it.
    slack_ns = 20_000_000
    began, ended = steady["began_ns"] - slack_ns, steady["ended_ns"] + slack_ns
    return [state for state in block["states"] if began <= state["at_ns"] <= ended]


def _disagreement(blocks: Sequence[Block]) -> Iterator[str]:
    phases = [phase for block in blocks if (phase := phase_of(block, STEADY)) is not None]
    medians = [median(phase["wall_ns"]) for phase in phases if phase["wall_ns"]]
    apart = disagreement(medians)
    if apart > PROCESS_DISAGREEMENT:
        low, high = format_ns(min(medians)), format_ns(max(medians))
        yield f"The processes' medians lie {apart:.0%} apart: {low} to {high}."
