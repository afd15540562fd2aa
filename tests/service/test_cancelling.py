"""Cancelling a conversion: it holds, however the call for it ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edgeconv.base.clock import SystemClock
from edgeconv.recipe.plan import PlannedVariant
from edgeconv.server.blobs.blobs import Blobs
from edgeconv.server.changes import Changes
from edgeconv.server.completion import to_its_end
from edgeconv.server.engine.dbos_engine import DbosEngine
from edgeconv.server.engine.engine import Job, JobKind
from edgeconv.server.jobs.children import Children
from edgeconv.server.jobs.runner import conversion_of
from edgeconv.server.progress import ProgressBoard
from edgeconv.server.records import VariantRecord
from edgeconv.server.retention.collector import Collector
from edgeconv.server.rpc.conversions import ConversionService
from edgeconv.server.rpc.gates import CallLimits, Gates
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.server.store.connections import dispatch
from edgeconv.server.store.conversions import NewConversion
from edgeconv.server.store.requests import Request
from edgeconv.server.store.store import Store
from edgeconv.testing.quick_steps import read_journal
from edgeconv.testing.running_server import QuickService, quick_service
from edgeconv.v1 import conversions_pb2 as pb

ONE = "version: 1\ntargets: [onnx]\nvariants: {fp32: {}}"
LIMIT_S = 20.0
DEAD_S = 1.0
"""A cancelled job's child is dead by then."""


async def _queued(store: Store) -> str:
    plan = PlannedVariant(
        name="fp32.onnx", recipe_variant="fp32", target="onnx", precision="fp32", road="direct",
        steps=("s",), artifact="s", verify="v",
    )  # fmt: skip
    variant = VariantRecord(
        name=plan.name, recipe_variant="fp32", target="onnx", precision="fp32", plan=plan,
        state="pending",
    )  # fmt: skip
    new = NewConversion("models/m/versions/1", "", {}, {}, "none", {}, {}, [], [variant])
    conversion, _ = await store.conversions.create(new, Request("local", "", ""))
    return conversion


@pytest.mark.parametrize("asked_again", [False, True])
def test_a_caller_that_goes_half_way_leaves_no_job_behind(
    tmp_path: Path, asked_again: bool
) -> None:
    async def scenario() -> None:
        began, stopped = asyncio.Event(), asyncio.Event()

        async def run(_job: Job) -> None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        changes = Changes()
        store = await Store.open(
            f"sqlite:///{tmp_path / 'db'}", clock=SystemClock(), touch=changes.touch
        )
        engine = await DbosEngine.open(
            "me", run, {JobKind.INSPECTION: 1, JobKind.CONVERSION: 1},
            database=dispatch(f"sqlite:///{tmp_path / 'dispatch'}"), poll_s=0.02,
        )  # fmt: skip
        blobs = Blobs.local(tmp_path / "blobs")
        tools = ServiceTools(
            store, blobs, engine, Children(tmp_path / "scratch", blobs), changes,
            ProgressBoard(changes.touch), SystemClock(), 1, 1, {},
            Gates(CallLimits()), Collector(store, blobs, tmp_path / "scratch"),
        )  # fmt: skip
        conversion = await _queued(store)
        job = conversion_of(conversion)
        await engine.start(job)
        await began.wait()
        service = ConversionService(tools)
        request = pb.CancelConversionRequest(name=job.resource)
        call = asyncio.create_task(service.CancelConversion(request, None))
        # One turn of the loop: the call now waits for its transaction.
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        if asked_again:
            again = await service.CancelConversion(request, None)
            assert again.conversion.state == pb.CONVERSION_STATE_CANCELLED
        async with asyncio.timeout(LIMIT_S):
            await stopped.wait()
        await engine.shutdown()
        await store.close()

    asyncio.run(scenario())


def test_cancelling_what_the_store_says_has_ended_still_stops_its_job(tmp_path: Path) -> None:
    async def scenario(service: QuickService, pid: int, name: str) -> None:
        assert (await service.client.cancel_conversion(name)).state == (
            pb.CONVERSION_STATE_CANCELLED
        )
        assert not Path(f"/proc/{pid}").exists()

    # No sweep comes in between.
    _with_a_job_that_the_store_has_ended(tmp_path, scenario, sweep_s=600.0)


def test_the_sweep_stops_a_job_whose_conversion_has_ended(tmp_path: Path) -> None:
    async def scenario(service: QuickService, pid: int, name: str) -> None:
        # The only place for conversions comes free.
        async with asyncio.timeout(LIMIT_S):
            conversion, _ = await service.convert(await service.model(), ONE)
        assert conversion.state == pb.CONVERSION_STATE_SUCCEEDED
        assert not Path(f"/proc/{pid}").exists()

    _with_a_job_that_the_store_has_ended(tmp_path, scenario, sweep_s=0.05)


def _with_a_job_that_the_store_has_ended(
    folder: Path, scenario: Callable[[QuickService, int, str], Awaitable[None]], *, sweep_s: float
) -> None:
    async def whole() -> None:
        async with quick_service(folder, sweep_s=sweep_s) as service:
            model = await service.model(gates={"direct": str(folder / "never")})
            made = await service.client.create_conversion(model, recipe=ONE)
            pid = await _child_of(service, "direct")
            other = await Store.open(
                f"sqlite:///{folder / 'state' / 'edgeconv.db'}",
                clock=SystemClock(), touch=lambda topics: None,
            )  # fmt: skip
            assert await other.conversions.cancel(made.name.removeprefix("conversions/"))
            await other.close()
            await scenario(service, pid, made.name)

    asyncio.run(whole())


def test_a_job_can_be_cancelled_at_any_time(tmp_path: Path) -> None:
    recipe = "version: 1\ntargets: [onnx, tflite]\nvariants: {fp32: {}}"
    seed = random.randrange(10**6)
    moments = random.Random(seed)

    async def scenario(service: QuickService) -> None:
        cancelled = 0
        for _ in range(8):
            model = await service.model(pause_s=0.1)
            ran = len(service.journal)
            made = await service.client.create_conversion(model, recipe=recipe)
            # Whatever it is at by then: this is no wait for anything.
            await asyncio.sleep(moments.uniform(0.0, 0.4))
            ended = await service.client.cancel_conversion(made.name)
            if ended.state == pb.CONVERSION_STATE_CANCELLED:
                cancelled += 1
                lines = read_journal(tmp_path / "journal")[ran:]
                # A child that had done all there was is kept.
                if lines and lines[-1].step != "verify":
                    await _until_gone(lines[-1].pid)
            events = [e async for e in service.client.watch_conversion(made.name) if e.sequence]
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            states = [e.state_changed.state for e in events if e.HasField("state_changed")]
            assert states[-1] == ended.state
            assert len(states) == len(set(states)), (seed, states)
            # Nothing of it is held.
            again, _ = await service.convert(model, recipe)
            assert again.state == pb.CONVERSION_STATE_SUCCEEDED, (seed, again)
        assert cancelled, seed

    async def whole() -> None:
        async with quick_service(tmp_path) as service:
            await scenario(service)

    asyncio.run(whole())


async def _until_gone(pid: int) -> None:
    async with asyncio.timeout(DEAD_S):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.005)


async def _child_of(service: QuickService, step: str) -> int:
    """Waits until a step runs and gives its child's process."""
    path = service.folder / "journal"
    async with asyncio.timeout(LIMIT_S):
        while True:
            lines = path.read_text().splitlines() if path.exists() else []
            for line in lines:
                name, pid, *_ = line.split()
                if name == step:
                    return int(pid)
            await asyncio.sleep(0.01)


def test_work_goes_to_its_end_though_who_waited_is_gone() -> None:
    async def scenario() -> list[str]:
        goes_on, ended, told = asyncio.Event(), asyncio.Event(), []

        async def work() -> None:
            told.append("begun")
            await goes_on.wait()
            told.append("done")
            ended.set()

        async def wait() -> None:
            await to_its_end(work())

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        goes_on.set()
        await ended.wait()
        return told

    assert asyncio.run(scenario()) == ["begun", "done"]


def test_the_result_and_the_error_of_work_come_to_who_waits() -> None:
    async def give() -> int:
        return 7

    async def fail() -> int:
        raise ValueError("no")

    async def scenario() -> None:
        assert await to_its_end(give()) == 7
        with pytest.raises(ValueError, match="no"):
            await to_its_end(fail())

    asyncio.run(scenario())
