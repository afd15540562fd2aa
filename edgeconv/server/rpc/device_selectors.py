"""Selectors are held against the fleet when they come, not after minutes of waiting."""

from __future__ import annotations

from edgeconv.base.quantities import NS_PER_S
from edgeconv.server.changes import QUEUE
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.server.scheduler import refusal

AGENT_START_S = 20.0
"""How long an agent that is on its way may take to register its device."""
_ALL = 1_000_000


async def check_matched(tools: ServiceTools, selector: str) -> None:
    """Refuses a selector that no registered device matches; online or not does not matter.

    "any" is never refused. While the device of an agent is awaited that starts together with
    the server, the answer waits for it.

    Raises:
        EdgeconvError: FIELD_INVALID, NO_DEVICE.
    """
    deadline_ns = tools.clock.monotonic_ns() + round(AGENT_START_S * NS_PER_S)
    with tools.changes.watching(QUEUE) as watch:
        while True:
            watch.clear()
            fleet = await tools.store.fleet.device_page(after="", limit=_ALL)
            error = refusal(selector, fleet)
            if error is None:
                return
            awaited = {tools.awaited_device} - {"", *(device.device for device in fleet)}
            left_ns = deadline_ns - tools.clock.monotonic_ns()
            if not awaited or left_ns <= 0:
                raise error
            await watch.wait(left_ns / NS_PER_S)
