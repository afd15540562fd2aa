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
from edgeconv.v1 import conversions_pb2, conversions_pb2_grpc

_QUEUE = "queue"
"""The subject of what is said of a conversion that has not begun."""


class ConversionService(conversions_pb2_grpc.ConversionServiceServicer):
    """As the wire says."""

    def __init__(self, tools: ServiceTools) -> None:
        self._tools = tools

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
        await self._view(conversion)
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
                    yield conversions_pb2.WatchConversionResponse(event=messages.event(event))
                if ended:
                    return
                await self._tell_wait(conversion)
                for now in self._tools.progress.since(request.name, told):
                    told = now.count
                    message = messages.progress(now, self._tools.clock.now_ns())
                    yield conversions_pb2.WatchConversionResponse(event=message)
                if not events:
                    await watch.wait(self._tools.gates.look_again_s())

    async def CancelConversion(
        self, request: conversions_pb2.CancelConversionRequest, context: Any
    ) -> conversions_pb2.CancelConversionResponse:
        """Cancels a conversion."""
        (conversion,) = parse_name(request.name, "conversions/*")
        await to_its_end(self._cancel(conversion))
        return conversions_pb2.CancelConversionResponse(conversion=await self._view(conversion))

    async def _tell_wait(self, conversion: str) -> None:
        """Says behind what a queued conversion waits, as it is now."""
        job = conversion_of(conversion)
        ahead = await self._tools.engine.ahead_of(job)
        if not ahead:
            self._tools.progress.forget(job.resource, _QUEUE)
            return
        more = f" and {len(ahead) - 1} more" if len(ahead) > 1 else ""
        words = f"waiting for {ahead[0].resource}{more} to end"
        self._tools.progress.say(job.resource, _QUEUE, -1.0, words)

    async def _cancel(self, conversion: str) -> None:
        await self._tools.store.conversions.cancel(conversion)
        reached(CrashPoint.CONVERSION_CANCELLED)
        # Also when it had ended: its job may run all the same where a server was cut off here.
        job = conversion_of(conversion)
        await self._tools.engine.cancel(job)
        reached(CrashPoint.JOB_CANCELLED)
        self._tools.progress.forget(job.resource, _QUEUE)

    async def _view(self, conversion: str) -> conversions_pb2.Conversion:
        view = await self._tools.store.conversions.view(conversion)
        if view is None:
            name = f"conversions/{conversion}"
            raise EdgeconvError(Reason.NOT_FOUND, f"There is no {name!r}.", name=name)
        return messages.conversion(view)
