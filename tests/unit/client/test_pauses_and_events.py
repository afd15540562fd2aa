"""The exact pauses of a client whose server is gone, and what a watcher is shown."""

from __future__ import annotations

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.client.event_cursor import TERMINAL_STATES, EventCursor
from edgeconv.client.parts import MESSAGE_BYTES, PART_BYTES, Span, plan_parts
from edgeconv.client.patience import Patience
from edgeconv.server.blobs.blobs import CHUNK_BYTES, MAX_PART_BYTES, MIN_PART_BYTES
from edgeconv.v1 import conversions_pb2


def pauses(patience: Patience) -> list[float]:
    taken = []
    while (pause := patience.pause_s) is not None:
        taken.append(pause)
        patience = patience.after_pause()
    return taken


def test_pauses_double_up_to_the_longest() -> None:
    patience = Patience(first_s=0.25, longest_s=2.0, limit_s=7.75)
    assert pauses(patience) == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_the_last_pause_may_use_up_the_limit_to_the_end() -> None:
    assert pauses(Patience(first_s=1.0, longest_s=1.0, limit_s=3.0)) == [1.0, 1.0, 1.0]
    assert pauses(Patience(first_s=1.0, longest_s=1.0, limit_s=2.99)) == [1.0, 1.0]
    assert pauses(Patience(first_s=1.0, longest_s=1.0, limit_s=0.5)) == []


def test_a_server_is_waited_for_a_minute_and_asked_often_at_first() -> None:
    taken = pauses(Patience())
    assert taken[:3] == [0.1, 0.2, 0.4]
    assert max(taken) == 2.0
    assert 58 <= sum(taken) <= 60


def test_an_answer_gives_all_patience_back() -> None:
    spent = Patience().after_pause().after_pause()
    assert (spent.tries, spent.waited_s) == (2, pytest.approx(0.3))
    assert spent.renewed() == Patience()


def test_parts_are_what_the_server_takes() -> None:
    assert MIN_PART_BYTES <= PART_BYTES <= MAX_PART_BYTES
    assert MESSAGE_BYTES <= CHUNK_BYTES
    assert plan_parts(PART_BYTES) == (Span(0, PART_BYTES),)
    assert plan_parts(PART_BYTES + 1)[-1] == Span(PART_BYTES, 1)


def event(sequence: int, **kind: object) -> conversions_pb2.ConversionEvent:
    return conversions_pb2.ConversionEvent(sequence=sequence, **kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("at", [0, 1, 7])
def test_progress_is_always_shown_and_moves_nothing(at: int) -> None:
    cursor = EventCursor(sequence=at)
    progress = event(0, progress=conversions_pb2.Progress(fraction=0.5))
    assert cursor.take(progress) == (cursor, True)


@pytest.mark.parametrize("state", conversions_pb2.ConversionState.values())
def test_only_a_terminal_state_ends_the_watch(state: int) -> None:
    changed = event(1, state_changed=conversions_pb2.StateChanged(state=state))  # type: ignore[arg-type]
    cursor, new = EventCursor().take(changed)
    assert new
    assert cursor.ended == (state in TERMINAL_STATES)
    assert cursor.sequence == 1


def test_what_is_no_change_of_state_ends_nothing() -> None:
    variant = conversions_pb2.VariantChanged(variant="v", state=3)  # type: ignore[arg-type]
    cursor, new = EventCursor().take(event(1, variant_changed=variant))
    assert (cursor, new) == (EventCursor(sequence=1, ended=False), True)
    assert not EventCursor().ended


@pytest.mark.parametrize("sequence", [3, 4, 10**9])
def test_a_gap_names_what_was_expected(sequence: int) -> None:
    with pytest.raises(EdgeconvError) as caught:
        EventCursor(sequence=1).take(event(sequence))
    assert caught.value.reason is Reason.INTERNAL
    assert caught.value.metadata == {"sequence": str(sequence), "expected": "2"}
