"""What a trial calls wrong: each kind is planted once."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from edgeconv.testing.crashes.findings import (
    Expected,
    Findings,
    check_collected,
    check_ends,
    check_runs,
    compare,
    elsewhere_s,
)
from edgeconv.testing.crashes.outputs import (
    Aged,
    Stored,
    job_outputs,
    sent_by_devices,
    step_outputs,
)
from edgeconv.testing.quick_steps import JournalLine

FIRST, SECOND = 100, 200
ENDED_NS = {FIRST: 5_000_000_000}


def _step(key: str, **changed: Any) -> dict[str, Any]:
    output = {"files": [], "facts": {"order": f"order of {key}"}, "wall_ns": 7}
    return {
        "key": key, "name": "direct", "state": "done", "owner": "me", "changed_ns": 8_000_000_000,
        "output": output, **changed,
    }  # fmt: skip


def _stored() -> Stored:
    events = [
        ("state_changed", {"state": "queued"}),
        ("variant_changed", {"variant": "fp32.onnx", "state": "verified"}),
        ("state_changed", {"state": "succeeded"}),
    ]
    variant = {
        "conversion": "c", "name": "fp32.onnx", "state": "verified", "digest": "d", "error": None,
        "effects": [], "agreement": None, "notes": [], "on_pareto_front": True,
    }  # fmt: skip
    return Stored(
        conversions=[
            {
                "seq": 1, "id": "c", "model_version": "models/job/versions/1",
                "state": "succeeded", "error": None, "notes": [], "collected_ns": 0,
            }
        ],
        variants=[variant],
        reports=[{"conversion": "c", "id": "direct", "key": "a"}],
        events=[
            {"conversion": "c", "sequence": place, "kind": kind, "body": body}
            for place, (kind, body) in enumerate(events, 1)
        ],
        benchmarks=[],
        steps=[_step("a"), _step("b")],
        models=[{"model": "job", "state": "ready"}],
        datasets=[],
        blobs=[],
    )  # fmt: skip


def _line(order: str, server: int, time_s: float) -> JournalLine:
    return JournalLine("direct", server + 1, server, f"order of {order}", int(time_s * 1e9))


JOURNAL = [_line("a", FIRST, 4), _line("a", SECOND, 6.5), _line("b", SECOND, 7)]


def _find(stored: Stored, journal: list[JournalLine] = JOURNAL) -> Findings:
    good = _stored()
    expected = Expected(job_outputs(good), step_outputs(good))
    findings = check_ends(stored)
    findings.add(check_runs(stored, journal, ended_ns=ENDED_NS, may_run_again=()))
    findings.add(compare(stored, expected, ["job"]))
    return findings


def test_a_store_as_it_should_be_has_no_findings() -> None:
    assert _find(_stored()).all == []


def _drop_job(stored: Stored) -> None:
    stored.conversions.clear()


def _drop_step(stored: Stored) -> None:
    del stored.steps[0]


def _hold_step(stored: Stored) -> None:
    stored.steps[0] |= {"state": "running", "output": None}


def _same_order(stored: Stored) -> None:
    stored.steps.append(_step("c") | {"output": stored.steps[0]["output"]})


def _other_variant(stored: Stored) -> None:
    stored.variants[0]["digest"] = "another"


def _other_step(stored: Stored) -> None:
    stored.steps[0]["output"]["files"] = ["another"]


def _no_end(stored: Stored) -> None:
    stored.conversions[0]["state"] = "converting"


def _two_ends(stored: Stored) -> None:
    end = stored.events[-1]
    stored.events.append(end | {"sequence": 4, "body": {"state": "failed"}})


def _gap(stored: Stored) -> None:
    stored.events[-1]["sequence"] = 4


def _variant_ends_again(stored: Stored) -> None:
    stored.events.insert(2, deepcopy(stored.events[1]))
    for place, event in enumerate(stored.events, 1):
        event["sequence"] = place


def _inspecting(stored: Stored) -> None:
    stored.models[0]["state"] = "inspecting"


@pytest.mark.parametrize(
    ("plant", "kinds"),
    [
        (_drop_job, {"missing"}),
        (_drop_step, {"missing"}),
        (_hold_step, {"missing", "unfinished"}),
        (_same_order, {"twice"}),
        (_other_variant, {"different"}),
        (_other_step, {"different"}),
        (_no_end, {"different", "unfinished"}),
        (_two_ends, {"unfinished"}),
        (_gap, {"unfinished"}),
        (_variant_ends_again, {"unfinished"}),
        (_inspecting, {"unfinished"}),
    ],
)
def test_what_is_wrong_in_a_store_is_found(
    plant: Callable[[Stored], None], kinds: set[str]
) -> None:
    stored = _stored()
    plant(stored)
    found = vars(_find(stored))
    assert {kind for kind, words in found.items() if words} == kinds


def _file(digest: str) -> dict[str, Any]:
    part = {"digest": digest, "size_bytes": 1}
    return {"name": "made", "digest": digest, "size_bytes": 1, "parts": [part]}


def _collected() -> Stored:
    """Of two steps with a blob in common, one went with its conversion."""
    stored = _stored()
    stored.conversions[0]["collected_ns"] = 9
    stored.events[:] = stored.events[-1:]
    stored.steps[0] |= {"state": "new", "output": None}
    stored.steps[1]["output"]["files"] = [_file("shared")]
    stored.blobs[:] = [{"digest": "shared"}]
    return stored


def _files_kept(stored: Stored) -> None:
    stored.conversions[0]["collected_ns"] = 0


def _result_kept(stored: Stored) -> None:
    stored.steps[0] |= _step("a")


def _blob_kept(stored: Stored) -> None:
    stored.blobs.append({"digest": "own"})


@pytest.mark.parametrize("plant", [_files_kept, _result_kept, _blob_kept])
def test_what_a_collection_left_behind_is_found(plant: Callable[[Stored], None]) -> None:
    old = Aged("c", frozenset({"a"}), frozenset({"own", "shared"}))
    stored = _collected()
    assert check_ends(stored).all == []
    assert check_collected(stored, [old], ["shared"]).all == []
    assert check_collected(stored, [old], ["own", "shared"]).left == ["the blob own"]
    plant(stored)
    assert len(check_collected(stored, [old], ["shared"]).left) == 1


def test_of_what_a_collected_job_told_its_end_alone_stays() -> None:
    stored = _collected()
    stored.events[:] = _stored().events
    assert len(check_ends(stored).unfinished) == 1


@pytest.mark.parametrize(
    ("journal", "kind"),
    [
        ([*JOURNAL, _line("b", SECOND, 9)], "done_again"),
        ([*JOURNAL[:2], _line("b", SECOND, 6), _line("b", SECOND, 7)], "twice"),
        # The first server lived when the second one did the same.
        ([_line("a", FIRST, 3), _line("a", SECOND, 4), _line("b", SECOND, 7)], "twice"),
        (JOURNAL[:2], "missing"),
    ],
)
def test_what_ran_without_need_or_not_at_all_is_found(
    journal: list[JournalLine], kind: str
) -> None:
    found = vars(_find(_stored(), journal))
    assert found[kind], found


def test_work_goes_on_elsewhere_when_a_step_that_was_under_way_begins_again() -> None:
    assert elsewhere_s(JOURNAL, ENDED_NS) == [1.5]
    assert elsewhere_s(JOURNAL[1:], ENDED_NS) == []
    assert elsewhere_s([_line("a", FIRST, 4)], ENDED_NS) == []


def test_what_devices_sent_is_looked_for_also_where_no_row_of_a_file_is_left() -> None:
    stored = _stored()
    sent = {"id": "b", "conversion": "c", "record_digest": "r", "outputs_digest": "o"}
    none = {"id": "n", "conversion": "c", "record_digest": "", "outputs_digest": ""}
    stored.benchmarks.extend([sent, none])
    assert sent_by_devices(stored) == {
        "r": "the record of benchmark b",
        "o": "the outputs of benchmark b",
    }
    # Raw samples are kept, whatever else was collected.
    stored.conversions[0]["collected_ns"] = 1
    assert set(sent_by_devices(stored)) == {"r"}
