"""Which benchmark goes to which device."""

from __future__ import annotations

from typing import Any

import pytest

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server import scheduler
from edgeconv.server.records import BenchmarkRecord, DeviceRecord


def _device(name: str, **changed: Any) -> DeviceRecord:
    values: dict[str, Any] = {
        "device": name,
        "agent": "agent",
        "capabilities": {"runtimes": {"onnxruntime": "1", "litert": "2"}, "kind": "pi5"},
        "labels": {},
        "state": "idle",
        "reason": "",
        "since_ns": 0,
        "last_seen_ns": 0,
    }
    return DeviceRecord(**{**values, **changed})


def _benchmark(name: str, selector: str = "any", **changed: Any) -> BenchmarkRecord:
    values: dict[str, Any] = {
        "seq": 1, "id": name, "conversion": "c", "variant": "v", "title": "v of m",
        "format": "onnx", "files": (), "device_selector": selector, "request": {},
        "priority": 0, "state": "queued", "create_ns": 0,
    }  # fmt: skip
    return BenchmarkRecord(**{**values, **changed})


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ("any", True),
        ("devices/a", True),
        ("a", True),
        ("b", False),
        ("kind=pi5", True),
        ("kind=pi4", False),
        ("room=lab", True),
        ("room=lab, kind=pi5", True),
        ("room=lab,kind=pi4", False),
        ("rack=1", False),
    ],
)
def test_a_selector_says_which_devices_may(selector: str, fits: bool) -> None:
    device = _device("a", labels={"room": "lab"})
    assert scheduler.parse_selector(selector).matches(device) is fits


@pytest.mark.parametrize("selector", ["", "Devices/A", "a b", "room=", "=lab", "room=lab,,", "a/b"])
def test_a_selector_that_cannot_be_read_is_refused(selector: str) -> None:
    with pytest.raises(EdgeconvError) as caught:
        scheduler.parse_selector(selector)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert caught.value.violations[0].field == "device_selector"


def test_the_first_of_the_queue_that_the_device_can_run_is_chosen() -> None:
    device = _device("a", capabilities={"runtimes": {"onnxruntime": "1"}})
    queue = [
        _benchmark("other", "devices/b"),
        _benchmark("tflite", format="tflite"),
        _benchmark("mine"),
        _benchmark("later"),
    ]
    chosen = scheduler.choose(device, queue, [device])
    assert chosen is not None
    assert chosen.id == "mine"


@pytest.mark.parametrize(
    "changed",
    [
        {"state": "offline"},
        {"state": "busy"},
        {"benchmark": "other"},
        {"held": "draining"},
        {"held": "quarantined"},
    ],
)
def test_a_device_that_is_not_free_gets_nothing(changed: dict[str, Any]) -> None:
    device = _device("a", **changed)
    assert scheduler.choose(device, [_benchmark("x")], [device]) is None


def test_where_it_failed_it_comes_again_only_if_no_other_device_could() -> None:
    failed = _benchmark("x", failed_on=("a",))
    here, there = _device("a"), _device("b", state="busy")
    assert scheduler.choose(here, [failed], [here, there]) is None
    for gone in (
        _device("b", state="offline"),
        _device("b", held="quarantined"),
        _device("b", capabilities={"runtimes": {}}),
    ):
        assert scheduler.choose(here, [failed], [here, gone]) == failed


@pytest.mark.parametrize(
    ("fleet", "words"),
    [
        ([], "no registered device matches 'any'"),
        ([_device("a", capabilities={"runtimes": {}})], "no matching device has ONNX Runtime"),
        ([_device("a", state="offline")], "offline: devices/a"),
        ([_device("a", held="draining")], "held back: devices/a (draining)"),
        ([_device("a", state="busy"), _device("b", held="draining")], "waits for devices/a"),
    ],
)
def test_it_is_said_why_a_benchmark_waits(fleet: list[DeviceRecord], words: str) -> None:
    assert words in scheduler.waiting_reason(_benchmark("x"), fleet)


@pytest.mark.parametrize(
    ("attempts", "owner", "verdict"),
    [
        (1, "model", "give up"),
        (1, "device", "retry"),
        (2, "infrastructure", "retry"),
        (3, "device", "give up"),
        (3, "infrastructure", "give up"),
    ],
)
def test_only_what_could_do_better_elsewhere_is_tried_again(
    attempts: int, owner: Any, verdict: str
) -> None:
    assert scheduler.verdict_on_failure(attempts, owner) == verdict


def test_a_device_shows_what_its_agent_reports_and_else_what_holds_it() -> None:
    device = _device("a", benchmark="x")
    assert scheduler.device_state(device, reported="cooling", message="45 °C") == (
        "cooling", "45 °C",
    )  # fmt: skip
    assert scheduler.device_state(device, reported="idle", message="sending") == ("busy", "sending")
    held = _device("a", held="draining", held_reason="new disk")
    assert scheduler.device_state(held, reported=None, message="") == ("draining", "new disk")
    # What it holds it may end.
    assert scheduler.device_state(held, reported="busy", message="m")[0] == "busy"
    assert scheduler.device_state(_device("a"), reported=None, message="")[0] == "idle"
