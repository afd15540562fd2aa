"""BenchmarkService: artifacts measured on devices."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import parse_name
from edgeconv.recipe.plan import Plan
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.jobs.conversion_job import OUTPUTS_FILE, SAMPLES_FILE
from edgeconv.server.records import BenchmarkRecord, FileRecord
from edgeconv.server.rpc import messages
from edgeconv.server.rpc.device_selectors import check_matched
from edgeconv.server.rpc.fields import fill_page, not_found, page_size, page_start, request_of
from edgeconv.server.rpc.new_conversion import MeasureOptions
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.server.scheduler import parse_selector
from edgeconv.server.store.benchmarks import NewBenchmark
from edgeconv.server.store.conversions import ConversionView
from edgeconv.v1 import benchmarks_pb2, benchmarks_pb2_grpc


class BenchmarkService(benchmarks_pb2_grpc.BenchmarkServiceServicer):
    """As the wire says."""

    def __init__(self, tools: ServiceTools) -> None:
        self._tools = tools

    async def CreateBenchmark(
        self, request: benchmarks_pb2.CreateBenchmarkRequest, context: Any
    ) -> benchmarks_pb2.CreateBenchmarkResponse:
        """Queues a benchmark."""
        conversion, name = parse_name(request.variant, "conversions/*/variants/*", field="variant")
        parse_selector(request.device_selector)
        options = MeasureOptions.of(request.request, "request")
        call = request_of(request, request.request_id)
        store = self._tools.store
        view = await store.conversions.view(conversion)
        variant = (
            next((each for each in view.variants if each.name == name), None) if view else None
        )
        if view is None or variant is None:
            raise not_found(request.variant)
        if not variant.files or variant.state not in ("verified", "failed"):
            raise EdgeconvError(
                Reason.NOT_READY,
                f"{request.variant!r} is {variant.state}: there is nothing to measure.",
                variant=name,
                state=variant.state,
            )
        await check_matched(self._tools, request.device_selector)
        samples, outputs = await self._reference_files(view)
        new = NewBenchmark(
            view.conversion, variant, request.device_selector.strip(), asdict(options),
            samples, outputs,
        )  # fmt: skip
        benchmark = await store.fleet.create(new, call, self._tools.gates.benchmarks)
        reached(CrashPoint.BENCHMARK_CREATED)
        return benchmarks_pb2.CreateBenchmarkResponse(
            benchmark=messages.benchmark(await self._read(benchmark))
        )

    async def GetBenchmark(
        self, request: benchmarks_pb2.GetBenchmarkRequest, context: Any
    ) -> benchmarks_pb2.GetBenchmarkResponse:
        """Reads one benchmark."""
        (benchmark,) = parse_name(request.name, "benchmarks/*")
        record = await self._read(benchmark)
        return benchmarks_pb2.GetBenchmarkResponse(benchmark=messages.benchmark(record))

    async def ListBenchmarks(
        self, request: benchmarks_pb2.ListBenchmarksRequest, context: Any
    ) -> benchmarks_pb2.ListBenchmarksResponse:
        """Lists benchmarks, newest first."""
        conversion = ""
        if request.conversion:
            (conversion,) = parse_name(request.conversion, "conversions/*", field="conversion")
        limit = page_size(request.page_size)
        found = await self._tools.store.fleet.benchmark_page(
            conversion, before_seq=page_start(request.page_token), limit=limit + 1
        )
        if conversion and not found and not await self._tools.store.conversions.get(conversion):
            raise not_found(request.conversion)
        page, following = fill_page(found, limit, messages.benchmark)
        return benchmarks_pb2.ListBenchmarksResponse(benchmarks=page, next_page_token=following)

    async def CancelBenchmark(
        self, request: benchmarks_pb2.CancelBenchmarkRequest, context: Any
    ) -> benchmarks_pb2.CancelBenchmarkResponse:
        """Cancels a benchmark."""
        (benchmark,) = parse_name(request.name, "benchmarks/*")
        await self._tools.store.fleet.cancel(benchmark)
        record = await self._read(benchmark)
        return benchmarks_pb2.CancelBenchmarkResponse(benchmark=messages.benchmark(record))

    async def GetBenchmarkRecord(
        self, request: benchmarks_pb2.GetBenchmarkRecordRequest, context: Any
    ) -> benchmarks_pb2.GetBenchmarkRecordResponse:
        """Reads the raw samples."""
        (benchmark,) = parse_name(request.name, "benchmarks/*")
        record = await self._read(benchmark)
        if not record.record_digest:
            raise EdgeconvError(
                Reason.NOT_READY,
                f"{request.name!r} is {record.state} and has no samples.",
                name=request.name,
                state=record.state,
            )
        file = await self._tools.store.fleet.file(benchmark, record.record_digest)
        assert file is not None
        data = await asyncio.to_thread(self._tools.blobs.read_whole, file)
        return benchmarks_pb2.GetBenchmarkRecordResponse(record_json=data)

    async def _read(self, benchmark: str) -> BenchmarkRecord:
        record = await self._tools.store.fleet.benchmark(benchmark)
        if record is None:
            raise not_found(f"benchmarks/{benchmark}")
        return record

    async def _reference_files(
        self, view: ConversionView
    ) -> tuple[FileRecord | None, FileRecord | None]:
        """The samples that devices compute outputs for, and the source's outputs."""
        reference = Plan.model_validate(view.conversion.plan).reference
        key = next((step.key for step in view.steps if step.id == reference), "")
        output = await self._tools.store.steps.output(key)
        files = {file.name: file for file in output.files} if output else {}
        return files.get(SAMPLES_FILE), files.get(OUTPUTS_FILE)
