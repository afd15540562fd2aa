"""What raw records come to: the verdict with its reasons, and the summary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeconv.analysis.comparison import Answer
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.bench import record
from edgeconv.bench.summary import compare, summarize
from edgeconv.bench.verdict import verdict
from edgeconv.testing import benchmark_records as make

MIB, MS, S = make.MIB, make.MS, make.S


def _with_states(*states: object) -> record.Record:
    return make.make_record(make.make_block(states=states))


def test_a_quiet_measurement_is_stable() -> None:
    states = [
        make.make_state(1 * S, busy_ns=0, own_ns=0, mhz=1500, throttle_bits=0),
        make.make_state(2 * S, busy_ns=1 * S, own_ns=1 * S, mhz=1500, throttle_bits=0),
    ]
    assert verdict(_with_states(*states)) == ("stable", ())


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0x1, "under-voltage"),
        (0x2, "the clock was capped"),
        (0x4, "it was throttled"),
        (0x8, "the soft temperature limit was reached"),
        (0x40000, "it was throttled"),
    ],
)
def test_throttling_while_it_measured(bits: int, words: str) -> None:
    told = verdict(
        _with_states(
            make.make_state(1 * S, throttle_bits=0), make.make_state(2 * S, throttle_bits=bits)
        )
    )
    assert told == ("unstable", (f"The device held back: {words}.",))


def test_throttling_that_was_over_before_is_not_held_against_it() -> None:
    states = [make.make_state(1 * S, throttle_bits=0x50000), make.make_state(2 * S)]
    assert verdict(_with_states(*states)) == ("stable", ())


@pytest.mark.parametrize(("other_ms", "stable"), [(190, True), (210, False)])
def test_other_load_is_what_this_process_did_not_use(other_ms: int, stable: bool) -> None:
    # Two processors for a second: 2 s of processor time, of which 10 % are 200 ms.
    word, reasons = verdict(
        _with_states(
            make.make_state(1 * S),
            make.make_state(2 * S, busy_ns=500 * MS + other_ms * MS, own_ns=500 * MS),
        )
    )
    assert (word == "stable") is stable
    assert reasons == (() if stable else ("Other work took 10% of the processors' time.",))


def test_time_stolen_by_the_host_is_told_apart() -> None:
    _, reasons = verdict(
        _with_states(
            make.make_state(1 * S), make.make_state(2 * S, busy_ns=400 * MS, stolen_ns=400 * MS)
        )
    )
    assert reasons == ("The host gave 20% of the processors' time to other machines.",)


def test_between_blocks_the_machine_may_do_what_it_likes() -> None:
    # 9 s of other work lie between the two blocks, none inside them.
    first = make.make_block(states=[make.make_state(1 * S), make.make_state(2 * S)])
    second = make.make_block(
        states=[make.make_state(11 * S, busy_ns=9 * S), make.make_state(12 * S, busy_ns=9 * S)]
    )
    assert verdict(make.make_record(first, second)) == ("stable", ())


def test_a_clock_that_changed_during_the_steady_state() -> None:
    word, reasons = verdict(
        _with_states(make.make_state(1 * S, mhz=1500), make.make_state(2 * S, mhz=1200))
    )
    assert (word, reasons) == ("unstable", ("The clock changed between 1200 and 1500 MHz.",))


def test_a_clock_that_changed_before_the_steady_state_does_not_count() -> None:
    states = [make.make_state(S // 2, mhz=600), make.make_state(1 * S, mhz=1500)]
    assert verdict(_with_states(*states)) == ("stable", ())


def test_processes_that_disagree() -> None:
    blocks = [make.make_block([time] * 200) for time in (MS, MS, 1_300_000)]
    word, reasons = verdict(make.make_record(*blocks))
    assert word == "unstable"
    assert reasons == ("The processes' medians lie 30% apart: 1 ms to 1.30 ms.",)


def test_a_machine_that_tells_nothing_is_judged_by_its_processes() -> None:
    state = make.make_state(1 * S)
    state["processor_time"] = None
    assert verdict(_with_states(state, state)) == ("stable", ())


def test_percentiles_come_with_their_counts_or_not_at_all() -> None:
    few = summarize(make.make_record(*[make.make_block([MS] * 20)] * 3))
    assert [each.value_ns for each in few.percentiles] == [MS, MS, None]
    assert [each.samples for each in few.percentiles] == [60, 60, 60]
    many = summarize(make.make_record(*[make.make_block([MS] * 153)] * 3))
    p99 = many.percentile(99)
    assert p99 is not None
    assert (p99.value_ns, p99.low_ns, p99.high_ns) == (MS, MS, MS)


def test_the_interval_goes_across_processes() -> None:
    blocks = [make.make_block([time * MS] * 50) for time in (3, 1, 2)]
    p50 = summarize(make.make_record(*blocks)).percentile(50)
    assert p50 is not None
    assert (p50.value_ns, p50.low_ns, p50.high_ns) == (2 * MS, 1 * MS, 3 * MS)


def test_what_a_user_waits_for_is_cold_load_and_first_inference() -> None:
    blocks = [
        make.make_block(cold_ns=cold * MS, first_ns=first * MS)
        for cold, first in ((10, 3), (30, 5), (11, 4))
    ]
    assert summarize(make.make_record(*blocks)).user_visible_ns == 15 * MS


def test_peak_memory_is_the_models_own() -> None:
    # 50 MiB are there before the model, 1 MiB are inputs; the import's own peak is higher.
    peaks = {record.IMPORT: 400 * MIB, record.WARM_LOAD: 75 * MIB}
    summary = summarize(make.make_record(make.make_block(peaks=peaks)))
    assert summary.peak_memory_bytes == 24 * MIB
    in_load = {record.COLD_LOAD: 75 * MIB}
    summary = summarize(make.make_record(make.make_block(peaks=in_load)))
    assert summary.peak_memory_bytes == 25 * MIB


def test_each_phase_is_a_series_of_its_own() -> None:
    summary = summarize(make.make_record(*[make.make_block()] * 3))
    phases = {phase.phase: phase for phase in summary.phases}
    assert list(phases) == list(record.PHASES)
    assert phases["steady"].samples == summary.samples == 600
    assert phases["steady"].median_cpu_ns == 2 * MS
    assert phases["import"].median_ns == 300 * MS
    assert phases["import"].peak_file_bytes == 20 * MIB
    assert summary.involuntary_switches == 6
    assert summary.processes == 3


def test_a_record_without_blocks_claims_nothing() -> None:
    summary = summarize(make.make_record())
    assert summary.samples == summary.user_visible_ns == summary.peak_memory_bytes == 0
    for phase in summary.phases:
        figures = phase.model_dump(exclude={"phase", "samples"})
        assert set(figures.values()) == {None}
    assert all(each.value_ns is None for each in summary.percentiles)


@given(st.lists(st.lists(st.integers(1, 10**10), min_size=1, max_size=60), min_size=1, max_size=5))
def test_any_samples_give_a_summary_that_can_be_stored(processes: list[list[int]]) -> None:
    made = make.make_record(*(make.make_block(samples) for samples in processes))
    summary = summarize(made)
    assert type(summary).model_validate_json(summary.model_dump_json()) == summary
    assert (summary.verdict == "stable") is (summary.reasons == ())
    for each in summary.percentiles:
        if each.value_ns is not None and each.low_ns is not None and each.high_ns is not None:
            assert each.low_ns <= each.value_ns <= each.high_ns


def test_records_measured_in_turn_are_compared() -> None:
    old = make.make_record(*[make.make_block([2 * MS] * 20)] * 4)
    new = make.make_record(*[make.make_block([1 * MS] * 20)] * 4)
    told = compare(old, new)
    assert told.answer is Answer.FASTER
    assert told.ratio == pytest.approx(0.5)


def test_a_record_comes_back_from_its_bytes() -> None:
    made = make.make_record(make.make_block())
    assert record.decode(record.encode(made)) == made
    block = made["blocks"][0]
    assert record.decode_block(record.encode_block(block)) == block


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "no JSON"),
        (b"[]", "its kind is not"),
        (b'{"kind": "other", "schema": 1}', "its kind is not"),
        (b'{"kind": "edgeconv.benchmark", "schema": 2}', "its schema is 2; this version reads 1"),
    ],
)
def test_what_is_no_record_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(EdgeconvError, match=words) as caught:
        record.decode(data)
    assert caught.value.reason is Reason.FIELD_INVALID
