"""ConversionService: jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import parse_name
from edgeconv.server.completion import to_its_end
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.jobs.runner import conversion_of
from edgeconv.server.rpc import messages
from edgeconv.server.rpc.device_selectors import check_matched
from edgeconv.server.rpc.fields import fill_page, page_size, page_start, refuse, request_of
from edgeconv.server.rpc.new_conversion import prepare_conversion
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.server.rpc.waiting_words import FRESH_S, Place, WaitingWords
from edgeconv.v1 import conversions_pb2, conversions_pb2_grpc

_QUEUED = conversions_pb2.CONVERSION_STATE_QUEUED


class ConversionService(conversions_pb2_grpc.ConversionServiceServicer):
    """As the wire says."""

    def __init__(self, tools: ServiceTools) -> None:
        self._tools = tools
        self._waiting = WaitingWords(tools.engine, tools.progress)

    async def CreateConversion(
        self, request: conversions_pb2.CreateConversionRequest, context: Any
    ) -> conversions_pb2.CreateConversionResponse:
        """Checks the request whole and queues the job."""
        call = request_of(request, request.request_id)
        new = await prepare_conversion(self._tools.store, request, self._tools.toolchain)
        if new.device_selector != "none":
            await check_matched(self._tools, new.device_selector)
        parts = {
            part["digest"]: part["size_bytes"]
            for each in new.inputs.values() for file in each["files"] for part in file["parts"]
        }  # fmt: skip
        await self._tools.store.retention.touch(parts)
        conversion, _ = await self._tools.store.conversions.create(
            new, call, self._tools.gates.conversions
        )
        reached(CrashPoint.CONVERSION_CREATED)
        # Not only when it is new: the same call may have been broken off before the start.
        # One that has ended is left as it is by its job.
        await self._tools.engine.start(conversion_of(conversion))
        return conversions_pb2.CreateConversionResponse(conversion=await self._view(conversion))

    async def GetConversion(
        self, request: conversions_pb2.GetConversionRequest, context: Any
    ) -> conversions_pb2.GetConversionResponse:
        """Reads one conversion."""
        (conversion,) = parse_name(request.name, "conversions/*")
        return conversions_pb2.GetConversionResponse(conversion=await self._view(conversion))

    async def ListConversions(
        self, request: conversions_pb2.ListConversionsRequest, context: Any
    ) -> conversions_pb2.ListConversionsResponse:
        """Lists conversions, newest first."""
        limit = page_size(request.page_size)
        found = await self._tools.store.conversions.page(
            before_seq=page_start(request.page_token), limit=limit + 1
        )
        page, following = fill_page(found, limit, messages.conversion_head)
        return conversions_pb2.ListConversionsResponse(conversions=page, next_page_token=following)

    async def WatchConversion(
        self, request: conversions_pb2.WatchConversionRequest, context: Any
    ) -> AsyncIterator[conversions_pb2.WatchConversionResponse]:
        """Streams what happened and happens, until the end."""
        (conversion,) = parse_name(request.name, "conversions/*")
        job = conversion_of(conversion)
        queued = (await self._view(conversion)).state == _QUEUED
        # Of one that has begun it is asked, too: when its server died, it waits again.
        place = Place.WAITS
        # Tells a client that comes back after a loss, though there may be no news.
        await context.send_initial_metadata(())
        if request.after_sequence < 0:
            raise refuse("after_sequence", "can't be negative")
        sequence, told = request.after_sequence, 0
        with self._tools.changes.watching(request.name) as watch:
            while True:
                watch.clear()
                async with self._tools.gates.looks:
                    events, ended = await self._tools.store.conversions.events_after(
                        conversion, sequence
                    )
                for event in events:
                    sequence = event.sequence
                    message = messages.event(event)
                    if message.HasField("state_changed"):
                        queued = message.state_changed.state == _QUEUED
                    yield conversions_pb2.WatchConversionResponse(event=message)
                if ended:
                    return
                if queued or place is Place.WAITS:
                    place = await self._waiting.tell(job)
                for now in self._tools.progress.since(request.name, told):
                    told = now.count
                    message = messages.progress(now, self._tools.clock.now_ns())
                    yield conversions_pb2.WatchConversionResponse(event=message)
                if not events:
                    # What the queues were not seen to have is in them the next time.
                    unseen = queued and place is Place.UNKNOWN
                    await watch.wait(FRESH_S if unseen else self._tools.gates.look_again_s())

    async def CancelConversion(
        self, request: conversions_pb2.CancelConversionRequest, context: Any
    ) -> conversions_pb2.CancelConversionResponse:
        """Cancels a conversion."""
        (conversion,) = parse_name(request.name, "conversions/*")
        await to_its_end(self._cancel(conversion))
        return conversions_pb2.CancelConversionResponse(conversion=await self._view(conversion))

    async def _cancel(self, conversion: str) -> None:
        await self._tools.store.conversions.cancel(conversion)
        reached(CrashPoint.CONVERSION_CANCELLED)
        # Also when it had ended: its job may run all the same where a server was cut off here.
        job = conversion_of(conversion)
        await self._tools.engine.cancel(job)
        reached(CrashPoint.JOB_CANCELLED)
        self._waiting.forget(job)

    async def _view(self, conversion: str) -> conversions_pb2.Conversion:
        view = await self._tools.store.conversions.view(conversion)
        if view is None:
            name = f"conversions/{conversion}"
            raise EdgeconvError(Reason.NOT_FOUND, f"There is no {name!r}.", name=name)
        return messages.conversion(view)
