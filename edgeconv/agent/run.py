"""Runs an agent: carries out what `loop` decides, and tells it what happened."""

from __future__ import annotations

import asyncio
import math
import signal
import traceback
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from edgeconv import __version__
from edgeconv.agent import loop
from edgeconv.agent.cache import ArtifactCache
from edgeconv.agent.drivers.driver import Driver
from edgeconv.agent.drivers.local import LocalDriver
from edgeconv.agent.link import Link
from edgeconv.agent.loop import AgentState
from edgeconv.agent.messages import Identity, KnownDevice, to_answered, to_request
from edgeconv.agent.settings import AgentSettings, held_state
from edgeconv.agent.work import Assignment, Failure, Lease, ResultFiles
from edgeconv.agent.workplace import Workplace
from edgeconv.base.clock import Clock, SystemClock
from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import new_id
from edgeconv.base.quantities import NS_PER_S
from edgeconv.bench.failure import owner_of
from edgeconv.client.patience import Patience, rest

Say = Callable[[str], None]
"""Told a sentence that the agent's operator should read."""

IDLE_WAIT_NS = 20 * NS_PER_S
WORKING_WAIT_NS = 2 * NS_PER_S
_DESCRIBED_FOR_NS = 60 * NS_PER_S
_TICK_S = 0.5
_LEAVING_S = 10.0
_BETWEEN_CALLS_S = 0.05
_EARLY_PAUSE_NS = NS_PER_S
_FATAL = frozenset({Reason.UNAUTHENTICATED, Reason.FIELD_INVALID})


async def run_agent(
    settings: AgentSettings,
    stop: asyncio.Event,
    report: Say,
    *,
    drivers: Sequence[Driver] | None = None,
    clock: Clock | None = None,
    patience: Patience | None = None,
) -> None:
    """Runs an agent until `stop` is set; then it leaves: gives back what it does not finish.

    A server that does not answer is called again, for ever.

    Args:
        report: Told what an operator should read, a sentence at a time.
        drivers: Its devices; by default this machine alone.
        patience: The pauses between calls to a server that does not answer.

    Raises:
        EdgeconvError: STATE_LOCKED when another agent runs on the state folder;
            UNAUTHENTICATED, FIELD_INVALID when the server refuses the agent as it is.
    """
    devices = drivers or [LocalDriver(settings.device_name())]
    token = settings.read_token()
    with held_state(settings.state) as own:
        link = Link(settings.server, token)
        try:
            agent = _Agent(
                settings,
                Identity(own.agent, new_id(), __version__, own.place),
                link,
                devices,
                report,
                clock or SystemClock(),
                patience
                or Patience(first_s=0.2, longest_s=10.0, limit_s=math.inf, busy_limit_s=math.inf),
            )
            await agent.run(stop)
        finally:
            await link.close()


async def run_until_signalled(settings: AgentSettings, report: Say) -> None:
    """Runs an agent until this process gets SIGTERM or SIGINT; see `run_agent`.

    Raises:
        EdgeconvError: as `run_agent`.
    """
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stop.set)
    try:
        await run_agent(settings, stop, report)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            running.remove_signal_handler(number)


class _Agent:
    def __init__(
        self,
        settings: AgentSettings,
        identity: Identity,
        link: Link,
        drivers: Sequence[Driver],
        say: Say,
        clock: Clock,
        patience: Patience,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._link = link
        self._drivers = drivers
        self._say = say
        self._clock = clock
        self._patience = patience
        self._state = AgentState()
        self._devices: list[KnownDevice] = []
        self._described_ns = 0
        self._news = asyncio.Event()
        self._tasks: dict[Lease, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        cache = ArtifactCache(settings.state / "cache", settings.cache_bytes, clock=clock)
        by_name = {driver.name: driver for driver in drivers}
        self._workplace = Workplace(settings.state / "work", cache, link, by_name, say)

    async def run(self, stop: asyncio.Event) -> None:
        """Until the server has heard that the agent leaves."""
        talking = asyncio.create_task(self._talk())
        ticking = asyncio.create_task(self._tick())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({talking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not talking.done():
                self._happened(loop.Leave())
                await asyncio.wait({talking}, timeout=_LEAVING_S)
            if talking.done():
                talking.result()
            else:
                self._say("The server did not hear that this agent leaves; its leases expire.")
        finally:
            for task in (talking, ticking, stopping):
                await _ended(task)
            for lease in list(self._tasks):
                self._drop(lease)
            await asyncio.gather(*self._ending, return_exceptions=True)

    async def _talk(self) -> None:
        """Calls the server, again and again, until it has heard that the agent leaves."""
        left = self._patience
        while not self._state.ended:
            self._news.clear()
            try:
                if not await self._call():
                    continue
                if left.tries:
                    self._say(f"The server at {self._settings.server} answers again.")
                left = left.renewed()
            except EdgeconvError as error:
                if error.reason in _FATAL:
                    raise
                if self._state.leaving:
                    self._say(f"{error.message} It does not know that this agent leaves.")
                    return
                if not left.tries:
                    self._say(f"{error} Calling again until it is well.")
                await self._pause(left.pause_s or left.longest_s)
                left = left.after_pause()

    async def _call(self) -> bool:
        """One call; False when there was news meanwhile and it was broken off."""
        state = self._state
        wait_ns = 0 if state.leaving else _wait_ns(state)
        request = to_request(state, self._identity, await self._describe(), wait_ns)
        asked_ns = self._clock.monotonic_ns()
        call = asyncio.create_task(self._link.synchronize(request))
        news = asyncio.create_task(self._news.wait())
        try:
            await asyncio.wait({call, news}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                return False
            response = call.result()
        finally:
            await _ended(call)
            await _ended(news)
        early = self._clock.monotonic_ns() - asked_ns < wait_ns // 2
        self._happened(to_answered(request, response, asked_ns))
        # A server that answers early has news, or paces its agents by `next_call`.
        paced_ns = min(response.next_call.ToNanoseconds(), _EARLY_PAUSE_NS) if early else 0
        await self._pause(max(paced_ns / NS_PER_S, _BETWEEN_CALLS_S))
        return True

    async def _pause(self, duration_s: float) -> None:
        """Waits, but not when there is news."""
        with suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                await self._news.wait()

    async def _describe(self) -> list[KnownDevice]:
        """The devices that answer; asked seldom, and never while one measures."""
        now_ns = self._clock.monotonic_ns()
        fresh = now_ns < self._described_ns + _DESCRIBED_FOR_NS
        if self._devices and (fresh or self._state.held):
            return self._devices
        devices = []
        for driver in self._drivers:
            try:
                able = await driver.describe()
            except EdgeconvError as error:
                self._say(f"{driver.name} is left out: {error}")
                continue
            devices.append(KnownDevice(driver.name, able, self._settings.labels))
        self._devices, self._described_ns = devices, now_ns
        return devices

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._happened(loop.Tick(self._clock.monotonic_ns()))

    def _happened(self, event: loop.Event) -> None:
        before = self._state
        self._state, actions = loop.advance(before, event)
        for device in sorted(self._state.draining - before.draining):
            self._say(f"An operator drains {device}: it takes nothing more.")
        for device, why in sorted(self._state.refused - before.refused):
            self._say(f"The server does not take {device}: {why}")
        for device in sorted({d for d, _ in before.refused} - {d for d, _ in self._state.refused}):
            self._say(f"The server takes {device} now.")
        for action in actions:
            self._act(action)

    def _act(self, action: loop.Action) -> None:
        match action:
            case loop.Fetch(assignment):
                self._say(f"Took {assignment.title or assignment.lease.benchmark}.")
                self._start(assignment.lease, self._fetch(assignment))
            case loop.Measure(assignment):
                self._start(assignment.lease, self._measure(assignment))
            case loop.Upload(assignment, files):
                self._start(assignment.lease, self._upload(assignment, files))
            case loop.Drop(lease):
                self._drop(lease)
            case loop.Speak() | loop.End():
                self._news.set()

    def _start(self, lease: Lease, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[lease] = asyncio.create_task(self._guarded(lease, work))

    def _drop(self, lease: Lease) -> None:
        task = self._tasks.pop(lease, None)

        async def end() -> None:
            if task is not None:
                await _ended(task)
            await self._workplace.clear(lease)

        ending = asyncio.create_task(end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _guarded(self, lease: Lease, work: Coroutine[Any, Any, None]) -> None:
        """Does a part of the work under a lease and tells how it failed."""
        try:
            await work
        except EdgeconvError as error:
            self._failed(lease, error)
        except Exception as fault:
            # A fault of ours: without a word to the server the lease would never end.
            traceback.print_exc()
            words = f"The agent failed: {type(fault).__name__}: {fault}"[:300]
            self._failed(lease, EdgeconvError(Reason.INTERNAL, words))

    def _failed(self, lease: Lease, error: EdgeconvError) -> None:
        if error.reason is Reason.LEASE_LOST:
            self._happened(loop.Lost(lease))
            return
        self._say(f"{lease.benchmark} failed: {error}")
        self._happened(loop.Failed(lease, Failure(error, owner_of(error))))

    async def _fetch(self, assignment: Assignment) -> None:
        await self._patiently(lambda: self._workplace.fetch(assignment))
        self._happened(loop.Fetched(assignment.lease))

    async def _measure(self, assignment: Assignment) -> None:
        def told(fraction: float, words: str) -> None:
            self._happened(loop.Progressed(assignment.lease, fraction, words))

        files = await self._workplace.measure(assignment, told)
        self._happened(loop.Measured(assignment.lease, files))

    async def _upload(self, assignment: Assignment, files: ResultFiles) -> None:
        result = await self._patiently(lambda: self._workplace.upload(assignment, files))
        self._say(f"Measured {assignment.title or assignment.lease.benchmark}.")
        self._happened(loop.Uploaded(assignment.lease, result))

    async def _patiently(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """The call's result; a server that does not answer is called again for ever.

        What is fetched for an expired lease is dropped from outside.
        """
        left = self._patience
        while True:
            try:
                return await call()
            except EdgeconvError as error:
                left = await rest(error, left)


def _wait_ns(state: AgentState) -> int:
    """How long the server may hold its answer back: heartbeats go with the calls."""
    leases = [held.assignment.lease_ns // 3 for held in state.held]
    return min([WORKING_WAIT_NS, *leases]) if leases else IDLE_WAIT_NS


async def _ended(task: asyncio.Task[Any]) -> None:
    """Cancels a task and waits until it has ended, however it did."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
