"""Which device gets which benchmark, for any fleet and any queue."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server import scheduler
from edgeconv.server.records import BenchmarkRecord, DeviceRecord

RUNTIMES = {"onnx": "onnxruntime", "tflite": "litert"}
NAMES = ("a", "b", "c", "d")
ROOMS = st.sampled_from(["lab", "desk"])


@st.composite
def fleets(draw: st.DrawFn, names: tuple[str, ...] = NAMES) -> list[DeviceRecord]:
    return [draw(devices(name)) for name in names]


@st.composite
def devices(draw: st.DrawFn, name: str) -> DeviceRecord:
    runtimes = draw(st.sets(st.sampled_from(list(RUNTIMES.values()))))
    return DeviceRecord(
        device=name,
        agent="agent",
        capabilities={"runtimes": dict.fromkeys(runtimes, "1"), "kind": draw(ROOMS)},
        labels=draw(st.dictionaries(st.just("room"), ROOMS)),
        state=draw(st.sampled_from(["offline", "idle", "idle", "idle", "busy"])),
        reason="",
        since_ns=0,
        benchmark=draw(st.sampled_from(["", "", "", "other"])),
        last_seen_ns=0,
        held=draw(st.sampled_from(["", "", "", "draining", "quarantined"])),
    )


@st.composite
def queues(draw: st.DrawFn) -> list[BenchmarkRecord]:
    selectors = st.sampled_from(["any", *NAMES, "devices/a", "kind=lab", "room=desk", "rack=9"])
    return [
        BenchmarkRecord(
            seq=place, id=f"b{place}", conversion="c", variant="v", title=f"b{place} of m",
            format=draw(st.sampled_from(list(RUNTIMES))), files=(),
            device_selector=draw(selectors), request={}, priority=0, state="queued", create_ns=0,
            failed_on=tuple(draw(st.sets(st.sampled_from(NAMES)))),
        )
        for place in range(draw(st.integers(0, 6)))
    ]  # fmt: skip


def fits(device: DeviceRecord, benchmark: BenchmarkRecord) -> bool:
    """As the wire describes selectors, written down again."""
    known = {**device.labels, "name": device.device, "kind": device.capabilities["kind"]}
    known["kind"] = device.labels.get("kind", known["kind"])
    wanted = benchmark.device_selector.removeprefix("devices/")
    label, equals, value = wanted.partition("=")
    named = wanted == "any" or (known.get(label) == value if equals else wanted == device.device)
    return named and RUNTIMES[benchmark.format] in device.capabilities["runtimes"]


def free(device: DeviceRecord) -> bool:
    return device.state == "idle" and not device.benchmark and not device.held


def left_to_another(
    device: DeviceRecord, benchmark: BenchmarkRecord, fleet: list[DeviceRecord]
) -> bool:
    return device.device in benchmark.failed_on and any(
        other.state != "offline"
        and not other.held
        and other.device not in benchmark.failed_on
        and fits(other, benchmark)
        for other in fleet
    )


@given(fleets(), queues())
def test_a_free_device_gets_the_first_that_it_may_run(
    fleet: list[DeviceRecord], queue: list[BenchmarkRecord]
) -> None:
    for device in fleet:
        may = [
            each
            for each in queue
            if free(device) and fits(device, each) and not left_to_another(device, each, fleet)
        ]
        assert scheduler.choose(device, queue, fleet) == (may[0] if may else None)


@given(fleets(), queues())
def test_what_any_device_that_is_up_could_run_is_served(
    fleet: list[DeviceRecord], queue: list[BenchmarkRecord]
) -> None:
    """Nobody starves: when all that is up is free, every round serves somebody."""
    up = [
        each.model_copy(update={"state": "idle", "benchmark": ""})
        for each in fleet
        if each.state != "offline" and not each.held
    ]
    waiting = list(queue)
    for _ in queue:
        for device in up:
            chosen = scheduler.choose(device, waiting, up)
            if chosen is not None:
                waiting.remove(chosen)
    assert not [each for each in waiting if any(fits(device, each) for device in up)]


@given(fleets(), queues())
def test_hope_and_the_reason_to_wait_agree(
    fleet: list[DeviceRecord], queue: list[BenchmarkRecord]
) -> None:
    for benchmark in queue:
        able = [device for device in fleet if fits(device, benchmark)]
        assert scheduler.has_hope(benchmark, fleet) == bool(able)
        reason = scheduler.waiting_reason(benchmark, fleet)
        up = [device for device in able if device.state != "offline"]
        free_to_serve = [device.name for device in up if not device.held]
        if not able:
            assert reason.startswith("no ")
        elif not up:
            assert reason.startswith(f"offline: {', '.join(device.name for device in able)}; ")
        elif not free_to_serve:
            assert reason.startswith("held back: ")
        else:
            assert reason == f"waits for {', '.join(free_to_serve)}"


@given(st.one_of(st.text(), st.from_regex(r"[a-zA-Z0-9_. ,=/:+-]*", fullmatch=True)))
def test_any_text_is_a_selector_or_refused_as_one(text: str) -> None:
    try:
        selector = scheduler.parse_selector(text)
    except EdgeconvError as error:
        refused: Any = error
    else:
        refused = None
    if refused is not None:
        assert refused.reason is Reason.FIELD_INVALID
        assert refused.violations[0].field == "device_selector"
    elif selector.name:
        assert scheduler.parse_selector(f"devices/{selector.name}") == selector
    elif selector.labels:
        written = ",".join(f"{label}={value}" for label, value in selector.labels)
        assert scheduler.parse_selector(written) == selector
    else:
        assert text.strip() == "any"
