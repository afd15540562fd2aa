"""A figure right at its limit is within it; a record with nothing in it is told as such."""

from __future__ import annotations

import pytest

from edgeconv.bench import record
from edgeconv.bench.summary import summarize
from edgeconv.bench.verdict import verdict
from edgeconv.testing import benchmark_records as make

MIB, MS, S = make.MIB, make.MS, make.S


def told(*states: object, **block: object) -> tuple[str, ...]:
    return verdict(make.make_record(make.make_block(states=states, **block)))[1]  # type: ignore[arg-type]


@pytest.mark.parametrize(("busy", "unstable"), [(100, False), (101, True)])
def test_a_tenth_of_other_load_is_allowed(busy: int, unstable: bool) -> None:
    states = [
        make.make_state(0, processors=1),
        make.make_state(1000 * MS, busy_ns=busy * MS, processors=1),
    ]
    assert bool(told(*states)) is unstable


@pytest.mark.parametrize(("stolen", "unstable"), [(20, False), (21, True)])
def test_two_hundredths_stolen_are_allowed(stolen: int, unstable: bool) -> None:
    states = [
        make.make_state(0, processors=1),
        make.make_state(1000 * MS, busy_ns=stolen * MS, stolen_ns=stolen * MS, processors=1),
    ]
    (*reasons,) = told(*states)
    assert bool(reasons) is unstable
    if unstable:
        assert reasons == ["The host gave 2% of the processors' time to other machines."]


@pytest.mark.parametrize(("mhz", "unstable"), [(900, False), (899, True)])
def test_a_tenth_of_the_clock_may_be_lost(mhz: int, unstable: bool) -> None:
    states = [make.make_state(1 * S, mhz=1000), make.make_state(2 * S, mhz=mhz)]
    assert bool(told(*states)) is unstable


@pytest.mark.parametrize(
    ("at_ns", "counts"),
    [
        (1 * S - 20_000_000, True),
        (1 * S - 20_000_001, False),
        (2 * S + 20_000_000, True),
        (2 * S + 20_000_001, False),
    ],
)
def test_the_clock_is_looked_at_during_the_steady_state_only(at_ns: int, counts: bool) -> None:
    states = [make.make_state(1_500_000_000, mhz=1000), make.make_state(at_ns, mhz=500)]
    assert bool(told(*states)) is counts


def test_a_process_without_a_steady_state_has_no_clock_to_judge() -> None:
    block = make.make_block(states=[make.make_state(1 * S, mhz=n) for n in (1000, 500)])
    block["phases"] = [each for each in block["phases"] if each["phase"] != record.STEADY]
    assert verdict(make.make_record(block)) == ("stable", ())
    assert summarize(make.make_record(block)).samples == 0


def test_a_record_of_no_process_is_a_summary_of_nothing() -> None:
    summary = summarize(make.make_record())
    assert (summary.processes, summary.samples, summary.user_visible_ns) == (0, 0, 0)
    assert (summary.runtime, summary.delegate_parts, summary.peak_memory_bytes) == ("", None, 0)
    assert all(each.value_ns is None for each in summary.percentiles)
    assert all(each.samples == 0 for each in summary.phases)


def test_the_last_process_tells_the_runtime() -> None:
    blocks = [
        make.make_block(runtime="Runtime 1", delegate_parts=1),
        make.make_block(runtime="Runtime 2", delegate_parts=7),
    ]
    summary = summarize(make.make_record(*blocks))
    assert (summary.runtime, summary.delegate_parts) == ("Runtime 2", 7)


def test_memory_below_the_baseline_is_none_and_not_less() -> None:
    block = make.make_block(baseline_bytes=900 * MIB)
    assert summarize(make.make_record(block)).peak_memory_bytes == 0
    block["phases"] = [each for each in block["phases"] if each["phase"] == record.IMPORT]
    assert summarize(make.make_record(block)).peak_memory_bytes == 0


def test_a_process_that_never_ran_an_inference_is_seen_by_its_load() -> None:
    block = make.make_block(cold_ns=7 * MS)
    block["phases"] = [each for each in block["phases"] if each["phase"] != record.FIRST_INFERENCE]
    assert summarize(make.make_record(block)).user_visible_ns == 7 * MS
