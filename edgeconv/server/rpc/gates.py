"""Limits on what is under way at once, so that a crowd makes calls wait and memory not grow.

A call that finds no room waits a moment in line, and is then refused with LIMIT_REACHED and
the time after which to come again. While it waits nothing of it has been read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.server.rpc.call_limits import MIB, CallLimits
from edgeconv.server.rpc.turns import Turns
from edgeconv.server.store.quota import Quota

CALLER: ContextVar[str] = ContextVar("caller", default="")
"""The connection that the call which is being served came over."""

_LOOKS = 4
_LOOK_AGAIN_S = 5.0
_LOOKS_A_SECOND = 50


class Gate:
    """Lets so many units of one kind be under way at once.

    Args:
        name: The attribute of `CallLimits` that sets it.
        noun: What is counted, in words, after a number.
        most: Units at once.
        share: Units of one caller at once.
        retry_s: When one that is refused had better come again.
    """

    def __init__(
        self, name: str, noun: str, most: int, *, share: int, retry_s: float, limits: CallLimits
    ) -> None:
        self._name = name
        self._noun = noun
        self.most = most
        self._share = share
        self._retry_s = retry_s
        self._line = limits.line
        self._line_s = limits.line_s
        self._turns = Turns(most, share)

    @property
    def under_way(self) -> int:
        """Units that are under way."""
        return self._turns.held

    @asynccontextmanager
    async def passed(self, who: str, units: int = 1) -> AsyncIterator[None]:
        """Waits for the caller's turn, and holds the units while the block runs.

        Raises:
            EdgeconvError: LIMIT_REACHED when its turn did not come in time.
        """
        granted = asyncio.Event()
        ticket = self._turns.ask(who, units, granted.set)
        try:
            if not ticket.granted:
                if self._turns.waiting > self._line:
                    raise self._refusal(who)
                try:
                    async with asyncio.timeout(self._line_s):
                        await granted.wait()
                except TimeoutError:
                    raise self._refusal(who) from None
            yield
        finally:
            self._turns.give_up(ticket)

    def _refusal(self, who: str) -> EdgeconvError:
        own = self._turns.held_by(who)
        if own >= self._share:
            words = f"This connection has its share of {self.most} {self._noun} under way: {own}."
        else:
            held = self._turns.held
            words = f"There is room for {self.most} {self._noun} at once, and {held} are under way."
        return busy(words, self._name, self.most, retry_s=self._retry_s)


def busy(message: str, limit: str, most: int, *, retry_s: float) -> EdgeconvError:
    """LIMIT_REACHED for a limit of `CallLimits`."""
    return EdgeconvError(
        Reason.LIMIT_REACHED,
        message,
        fix=f"Call again in {retry_s:g} s.",
        retry_s=retry_s,
        limit=limit,
        most=most,
    )


class Gates:
    """The gate of each kind of call, the time it may take, and the room for jobs."""

    def __init__(self, limits: CallLimits) -> None:
        def gate(name: str, noun: str, most: int, retry_s: float) -> Gate:
            share = max(most // 4, 1)
            return Gate(name, noun, most, share=share, retry_s=retry_s, limits=limits)

        self.limits = limits
        self.conversions = Quota("conversions", "conversions", limits.conversions)
        self.models = Quota("inspections of models", "inspections", limits.inspections)
        self.datasets = Quota("inspections of datasets", "inspections", limits.inspections)
        self.benchmarks = Quota("benchmarks", "benchmarks", limits.benchmarks)
        self._upload_mib = gate("upload_bytes", "MiB of uploads", limits.upload_bytes // MIB, 2.0)
        self.looks = asyncio.Semaphore(_LOOKS)
        """For watchers that look at the store: others get their turn between them."""
        self._calls = gate("calls", "calls", limits.calls, 1.0)
        uploads = gate("uploads", "uploads", limits.uploads, 2.0)
        downloads = gate("downloads", "downloads", limits.downloads, 2.0)
        self._watches = watches = gate("watches", "watches", limits.watches, 5.0)
        lists = gate("lists", "pages of lists", limits.lists, 1.0)
        # Apart from those of people, so that a crowd of these keeps no agent from its lease.
        agents = gate("agents", "calls of agents", limits.agents, 2.0)
        storage = gate("storage", "collections and checks", limits.storage, 5.0)
        self._by_method = {
            "UploadPart": uploads,
            "UploadResult": gate("uploads", "uploads of agents", limits.uploads, 2.0),
            "DownloadFile": downloads,
            "FetchFile": gate("downloads", "downloads of agents", limits.downloads, 2.0),
            "WatchModelVersion": watches,
            "WatchDataset": watches,
            "WatchConversion": watches,
            "ListModelVersions": lists,
            "ListDatasets": lists,
            "ListConversions": lists,
            "ListBenchmarks": lists,
            "ListDevices": lists,
            "Synchronize": agents,
            "CollectGarbage": storage,
            "CheckBlobs": storage,
            # Of gRPC's own services.
            "Check": gate("calls", "health checks", limits.calls, 1.0),
            "Watch": gate("calls", "watches of health", limits.calls, 1.0),
            "ServerReflectionInfo": gate("calls", "reflections", limits.calls, 1.0),
        }
        self._all = {self._calls, *self._by_method.values()}

    @asynccontextmanager
    async def room_for(self, size_bytes: int) -> AsyncIterator[None]:
        """Waits until an upload of that size may be held in memory, and holds the room.

        Raises:
            EdgeconvError: LIMIT_REACHED.
        """
        async with self._upload_mib.passed(CALLER.get(), -(-size_bytes // MIB)):
            yield

    def of(self, method: str) -> Gate:
        """The gate of a method, given by its full name."""
        return self._by_method.get(_last(method), self._calls)

    def longest_s(self, method: str) -> float | None:
        """How long a call of that method may take, in seconds; None for as long as it likes."""
        name = _last(method)
        if name in _ENDLESS:
            return None
        return self.limits.transfer_s if name in _LONG else self.limits.call_s

    def look_again_s(self) -> float:
        """How long a watcher waits before it looks though nothing was said: another replica
        may have written. The more of them there are the longer, and not all at once."""
        often = max(_LOOK_AGAIN_S, self._watches.under_way / _LOOKS_A_SECOND)
        return often * random.uniform(0.75, 1.25)

    @property
    def most_calls(self) -> int:
        """Calls that can be under way or in a line, all kinds together."""
        kinds = self._all
        return sum(gate.most for gate in kinds) + self.limits.line * len(kinds)


_ENDLESS = frozenset(
    {
        "WatchModelVersion", "WatchDataset", "WatchConversion", "DownloadFile", "FetchFile",
        "CollectGarbage", "CheckBlobs", "Watch", "ServerReflectionInfo",
    }
)  # fmt: skip
_LONG = frozenset({"UploadPart", "UploadResult", "CreateModelVersion", "CreateDataset"})


def _last(method: str) -> str:
    return method.rpartition("/")[2]
