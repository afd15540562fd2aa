"""Watching a conversion over servers that break off, repeat and go away."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from edgeconv.base.errors import EdgeconvError, FieldViolation, Reason
from edgeconv.client.aio import AsyncClient
from edgeconv.client.patience import Patience
from edgeconv.client.sync import Client
from edgeconv.results.status import to_status
from edgeconv.v1 import conversions_pb2, conversions_pb2_grpc, models_pb2, models_pb2_grpc

NAME = "conversions/c"
IMPATIENT = Patience(first_s=0.01, longest_s=0.05, limit_s=0.5)
Context = grpc.aio.ServicerContext


def step(sequence: int) -> conversions_pb2.ConversionEvent:
    event = conversions_pb2.ConversionEvent(sequence=sequence)
    event.step_changed.step = f"step {sequence}"
    return event


def end(sequence: int) -> conversions_pb2.ConversionEvent:
    event = conversions_pb2.ConversionEvent(sequence=sequence)
    event.state_changed.state = conversions_pb2.CONVERSION_STATE_SUCCEEDED
    return event


def progress() -> conversions_pb2.ConversionEvent:
    event = conversions_pb2.ConversionEvent()
    event.progress.fraction = 0.5
    return event


@dataclass
class Events(conversions_pb2_grpc.ConversionServiceServicer):
    """Streams events; breaks off as each call's entry of `breaks` says.

    Attributes:
        breaks: (after how many messages, how): a code, or None for a clean end.
        overlap: How many events before the one that was asked for are sent again.
    """

    events: list[conversions_pb2.ConversionEvent] = field(default_factory=list)
    breaks: list[tuple[int, grpc.StatusCode | None]] = field(default_factory=list)
    overlap: int = 0
    asked: list[int] = field(default_factory=list)
    refusal: EdgeconvError | None = None

    async def WatchConversion(
        self, request: conversions_pb2.WatchConversionRequest, context: Context
    ) -> AsyncIterator[conversions_pb2.WatchConversionResponse]:
        if self.refusal:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                self.refusal.message,
                (("grpc-status-details-bin", to_status(self.refusal).SerializeToString()),),
            )
        self.asked.append(request.after_sequence)
        after = max(request.after_sequence - self.overlap, 0)
        limit, code = self.breaks.pop(0) if self.breaks else (10**6, None)
        due = [each for each in self.events if each.sequence > after or not each.sequence]
        for event in due[:limit]:
            yield conversions_pb2.WatchConversionResponse(event=event)
        if code is not None:
            await context.abort(code, "broken off")

    async def GetConversion(
        self, request: conversions_pb2.GetConversionRequest, context: Context
    ) -> conversions_pb2.GetConversionResponse:
        last = self.events[-1]
        return conversions_pb2.GetConversionResponse(
            conversion=conversions_pb2.Conversion(
                name=request.name, state=last.state_changed.state, sequence=last.sequence
            )
        )


class Versions(models_pb2_grpc.ModelServiceServicer):
    """Gives a version's states one after another; a call each."""

    def __init__(self, *calls: list[int]) -> None:
        self.calls = list(calls)

    async def WatchModelVersion(
        self, request: models_pb2.WatchModelVersionRequest, context: Context
    ) -> AsyncIterator[models_pb2.WatchModelVersionResponse]:
        for state in self.calls.pop(0):
            version = models_pb2.ModelVersion(name=request.name, state=state)
            if state == models_pb2.INSPECTION_STATE_REJECTED:
                error = EdgeconvError(Reason.MODEL_UNREADABLE, "It is cut short.", fix="Send all.")
                version.error.CopyFrom(to_status(error))
            yield models_pb2.WatchModelVersionResponse(model_version=version)
        if self.calls:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken off")


def served(
    add: Callable[[grpc.aio.Server], None], use: Callable[[AsyncClient], Awaitable[Any]]
) -> Any:
    async def main() -> Any:
        server = grpc.aio.server()
        add(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with await AsyncClient.connect(f"127.0.0.1:{port}", patience=IMPATIENT) as client:
                return await use(client)
        finally:
            await server.stop(None)

    return asyncio.run(main())


def watched(events: Events, after: int = 0) -> list[int]:
    """Sequences that a watcher sees."""

    async def use(client: AsyncClient) -> list[int]:
        return [event.sequence async for event in client.watch_conversion(NAME, after)]

    def add(server: grpc.aio.Server) -> None:
        conversions_pb2_grpc.add_ConversionServiceServicer_to_server(events, server)

    seen: list[int] = served(add, use)
    return seen


def test_all_events_come_and_the_stream_ends_with_the_terminal_one() -> None:
    events = Events([step(1), progress(), step(2), end(3)])
    assert watched(events) == [1, 0, 2, 3]


def test_a_watch_begins_after_what_is_known() -> None:
    assert watched(Events([step(1), step(2), end(3)]), after=2) == [3]


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, None])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stream_that_breaks_off_goes_on_without_gap_or_repeat(
    after: int, code: grpc.StatusCode | None
) -> None:
    events = Events([step(1), step(2), step(3), end(4)], breaks=[(after, code), (1, code)])
    assert watched(events) == [1, 2, 3, 4]
    assert events.asked == [0, after, after + 1]


def test_events_that_are_sent_again_are_not_seen_again() -> None:
    events = Events([step(1), step(2), end(3)], breaks=[(2, grpc.StatusCode.UNAVAILABLE)])
    events.overlap = 5
    assert watched(events) == [1, 2, 3]


def test_a_gap_is_an_error_and_not_silence() -> None:
    with pytest.raises(EdgeconvError, match="Event 3 came after event 1"):
        watched(Events([step(1), end(3)]))


def test_a_conversion_that_had_ended_ends_the_watch_at_once() -> None:
    assert watched(Events([step(1), end(2)]), after=2) == []


def test_a_server_that_does_not_come_back_is_named() -> None:
    events = Events([step(1)], breaks=[(1, grpc.StatusCode.UNAVAILABLE)] * 10_000)
    events.events = []
    with pytest.raises(EdgeconvError, match="127") as caught:
        watched(events)
    assert caught.value.reason is Reason.SERVER_UNREACHABLE
    assert len(events.asked) > 3


def test_a_refusal_arrives_as_it_was_raised() -> None:
    refusal = EdgeconvError(
        Reason.NOT_FOUND,
        "There is no 'conversions/c'.",
        fix="List them.",
        violations=[FieldViolation("name", "unknown")],
        name=NAME,
    )
    with pytest.raises(EdgeconvError) as caught:
        watched(Events(refusal=refusal))
    assert caught.value.to_json() == refusal.to_json()


def test_the_blocking_watch_sees_the_same_and_can_stop_early() -> None:
    events = Events([step(1), step(2), end(3)])

    def add(server: grpc.aio.Server) -> None:
        conversions_pb2_grpc.add_ConversionServiceServicer_to_server(events, server)

    async def use(client: AsyncClient) -> None:
        def blocking() -> None:
            with Client.connect(client.address) as other:
                assert [e.sequence for e in other.watch_conversion(NAME)] == [1, 2, 3]
                for event in other.watch_conversion(NAME):
                    assert event.sequence == 1
                    break
                assert other.get_conversion(NAME).sequence == 3

        await asyncio.to_thread(blocking)

    served(add, use)


class Endless(conversions_pb2_grpc.ConversionServiceServicer):
    """Sends one event, interrupts the main thread, and holds the stream."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def WatchConversion(
        self, request: conversions_pb2.WatchConversionRequest, context: grpc.ServicerContext
    ) -> Iterator[conversions_pb2.WatchConversionResponse]:
        context.add_callback(self.ended.set)
        yield conversions_pb2.WatchConversionResponse(event=step(1))
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self.ended.wait(20)

    def CancelConversion(
        self, request: conversions_pb2.CancelConversionRequest, context: grpc.ServicerContext
    ) -> conversions_pb2.CancelConversionResponse:
        return conversions_pb2.CancelConversionResponse(
            conversion=conversions_pb2.Conversion(name=request.name)
        )


def test_an_interrupted_watch_ends_its_stream_and_leaves_the_client_usable() -> None:
    servicer = Endless()
    server = grpc.server(ThreadPoolExecutor(2))
    conversions_pb2_grpc.add_ConversionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with Client.connect(f"127.0.0.1:{port}", patience=IMPATIENT) as client:
            with pytest.raises(KeyboardInterrupt):
                list(client.watch_conversion(NAME))
            assert servicer.ended.wait(20)
            assert client.cancel_conversion(NAME).name == NAME
    finally:
        server.stop(None).wait()


INSPECTING = models_pb2.INSPECTION_STATE_INSPECTING
READY = models_pb2.INSPECTION_STATE_READY
REJECTED = models_pb2.INSPECTION_STATE_REJECTED


@pytest.mark.parametrize(
    "calls", [[[READY]], [[INSPECTING, READY]], [[INSPECTING], [INSPECTING, READY]]]
)
def test_waiting_ends_when_a_version_is_ready(calls: list[list[int]]) -> None:
    versions = Versions(*calls)

    def add(server: grpc.aio.Server) -> None:
        models_pb2_grpc.add_ModelServiceServicer_to_server(versions, server)

    version = served(add, lambda client: client.wait_model_version("models/m/versions/1"))
    assert version.state == READY


def test_waiting_raises_why_a_version_was_rejected() -> None:
    def add(server: grpc.aio.Server) -> None:
        models_pb2_grpc.add_ModelServiceServicer_to_server(Versions([REJECTED]), server)

    with pytest.raises(EdgeconvError, match="cut short") as caught:
        served(add, lambda client: client.wait_model_version("models/m/versions/1"))
    assert (caught.value.reason, caught.value.fix) == (Reason.MODEL_UNREADABLE, "Send all.")
