"""Which benchmark goes to which device, and what a failure means. Pure.

A selector says which devices may run a benchmark:

    any                     every device
    devices/pi5-a, pi5-a    that one
    kind=pi5,room=lab       devices of that kind of the catalogue, with that label

Whether a device has the runtime for the artifact's format is asked besides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.base.ids import parse_name
from edgeconv.runtimes.catalogue import runtime_by_format
from edgeconv.server.records import BenchmarkRecord, DeviceRecord, DeviceState, FailureOwner

MAX_ATTEMPTS = 3
QUARANTINE_AFTER = 3
_NAMED = 5
_TERM = re.compile(r"[A-Za-z0-9_.-]+=[A-Za-z0-9_.:+ -]+\Z")
_WORKING: tuple[DeviceState, ...] = ("preparing", "busy", "cooling")


@dataclass(frozen=True)
class Selector:
    """What a device must be: one by name, or with all the labels; neither is any device."""

    name: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    def matches(self, device: DeviceRecord) -> bool:
        """Whether the device may run what has this selector."""
        if self.name:
            return device.device == self.name
        known = {"kind": str(device.capabilities.get("kind", "")), **device.labels}
        return all(known.get(label) == value for label, value in self.labels)


def parse_selector(text: str, *, field: str = "device_selector") -> Selector:
    """The selector of a text.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    text = text.strip()
    if text == "any":
        return Selector()
    if "=" not in text:
        name = text if text.startswith("devices/") else f"devices/{text}"
        (device,) = parse_name(name, "devices/*", field=field)
        return Selector(name=device)
    labels = []
    for term in (each.strip() for each in text.split(",")):
        if not _TERM.match(term):
            message = f"{term!r} is no label=value"
            raise EdgeconvError(
                Reason.FIELD_INVALID,
                f"The selector {text!r} can't be read: {message}.",
                fix='Write "any", a device\'s name, or label=value,label=value.',
                violations=[FieldViolation(field, message)],
                selector=text,
            )
        label, _, value = term.partition("=")
        labels.append((label, value.strip()))
    return Selector(labels=tuple(labels))


def refusal(selector: str, fleet: Sequence[DeviceRecord]) -> EdgeconvError | None:
    """Why a selector can't be taken: it asks for devices of which none is registered.

    "any" is always taken: a device may still come.

    Returns:
        NO_DEVICE with the devices that there are; None when the selector can be taken.

    Raises:
        EdgeconvError: FIELD_INVALID.
    """
    wanted = parse_selector(selector)
    if wanted == Selector() or any(wanted.matches(device) for device in fleet):
        return None
    names = [device.name for device in fleet[:_NAMED]]
    more = f" and {len(fleet) - _NAMED} more" if len(fleet) > _NAMED else ""
    known = f"registered: {', '.join(names)}{more}" if names else "no device is registered"
    return EdgeconvError(
        Reason.NO_DEVICE,
        f"No registered device matches {selector.strip()!r}; {known}.",
        fix="Name one that is registered (`edgeconv devices list` shows names and labels), or"
        ' "any"; `edgeconv agent` registers a machine.',
        selector=selector.strip(),
        registered=",".join(names),
    )


def runs_format(device: DeviceRecord, format_name: str) -> bool:
    """Whether the device has the runtime for an artifact's format."""
    return runtime_by_format(format_name).name in device.capabilities.get("runtimes", {})


def may_take_work(device: DeviceRecord) -> bool:
    """Whether the device is free and nobody holds it back."""
    return device.state == "idle" and not device.benchmark and not device.held


def choose(
    device: DeviceRecord, queue: Sequence[BenchmarkRecord], fleet: Sequence[DeviceRecord]
) -> BenchmarkRecord | None:
    """The benchmark that a free device is to run, or None.

    Args:
        queue: In the order in which they are to be served.
        fleet: All devices; a benchmark that failed on this one is left to another one,
            if there is another one that could run it.
    """
    if not may_take_work(device):
        return None
    for benchmark in queue:
        if not _could_run(device, benchmark):
            continue
        if device.device in benchmark.failed_on and any(
            other.device not in benchmark.failed_on and _could_run(other, benchmark)
            for other in fleet
            if other.state != "offline" and not other.held
        ):
            continue
        return benchmark
    return None


def waiting_reason(benchmark: BenchmarkRecord, fleet: Sequence[DeviceRecord]) -> str:
    """Why a queued benchmark waits, in words."""
    selector = parse_selector(benchmark.device_selector)
    matching = [device for device in fleet if selector.matches(device)]
    if not matching:
        return (
            f"no registered device matches {benchmark.device_selector!r}; `edgeconv agent` on a"
            " device registers it"
        )
    able = [device for device in matching if runs_format(device, benchmark.format)]
    if not able:
        runtime = runtime_by_format(benchmark.format).title
        return f"no matching device has {runtime}, which runs {benchmark.format} files"
    if all(device.state == "offline" for device in able):
        names = ", ".join(device.name for device in able)
        return f"offline: {names}; waits until `edgeconv agent` runs there again"
    up = [device for device in able if device.state != "offline"]
    if all(device.held for device in up):
        return "held back: " + ", ".join(f"{device.name} ({device.held})" for device in up)
    return f"waits for {', '.join(device.name for device in up if not device.held)}"


def has_hope(benchmark: BenchmarkRecord, fleet: Sequence[DeviceRecord]) -> bool:
    """Whether a registered device could run it, now or when it is back."""
    return any(_could_run(device, benchmark) for device in fleet)


def verdict_on_failure(
    attempts: int, owner: FailureOwner, *, limit: int = MAX_ATTEMPTS
) -> Literal["retry", "give up"]:
    """What to do with a benchmark that failed: the model's own fault would be so elsewhere."""
    return "give up" if owner == "model" or attempts >= limit else "retry"


def device_state(
    device: DeviceRecord, *, reported: DeviceState | None, message: str
) -> tuple[DeviceState, str]:
    """Where a device stands of which its agent was just heard, and why.

    Args:
        reported: What the agent says on account of the lease it holds; None for no lease.
    """
    if reported is not None:
        # A device that is done still holds its lease while the result is sent.
        state: DeviceState = reported if reported in _WORKING else "busy"
        return state, message or f"benchmarks/{device.benchmark}"
    if device.held:
        return device.held, device.held_reason
    return "idle", "ready for work"


def _could_run(device: DeviceRecord, benchmark: BenchmarkRecord) -> bool:
    selector = parse_selector(benchmark.device_selector)
    return selector.matches(device) and runs_format(device, benchmark.format)
