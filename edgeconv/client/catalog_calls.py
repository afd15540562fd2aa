"""Reading, listing and changing resources: one call, one answer."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from edgeconv.base.quantities import NS_PER_S
from edgeconv.client.rpc_errors import unreachable
from edgeconv.client.transfer import Progress
from edgeconv.client.wire import Wire
from edgeconv.v1 import (
    benchmarks_pb2,
    benchmarks_pb2_grpc,
    conversions_pb2,
    conversions_pb2_grpc,
    datasets_pb2,
    datasets_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    storage_pb2,
    storage_pb2_grpc,
)

Item = TypeVar("Item")
Page = tuple[Iterable[Item], str]
"""The items of a page, and the token of the next one; empty on the last."""

_PAGE = 200


async def collect(
    page: Callable[[int, str], Awaitable[Page[Item]]], limit: int | None
) -> list[Item]:
    """All items, page by page, or the first `limit` of them."""
    found: list[Item] = []
    token = ""
    while limit is None or len(found) < limit:
        size = _PAGE if limit is None else min(limit - len(found), _PAGE)
        items, token = await page(size, token)
        found += items
        if not token:
            break
    return found


class CatalogCalls:
    """The calls of `AsyncClient` that need nothing but the wire.

    A `list_…` gives all resources, page by page; `limit` ends it earlier.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        channel = wire.channel
        self._models: models_pb2_grpc.ModelServiceAsyncStub = models_pb2_grpc.ModelServiceStub(
            channel
        )
        self._datasets: datasets_pb2_grpc.DatasetServiceAsyncStub = (
            datasets_pb2_grpc.DatasetServiceStub(channel)
        )
        self._conversions: conversions_pb2_grpc.ConversionServiceAsyncStub = (
            conversions_pb2_grpc.ConversionServiceStub(channel)
        )
        self._devices: devices_pb2_grpc.DeviceServiceAsyncStub = devices_pb2_grpc.DeviceServiceStub(
            channel
        )
        self._benchmarks: benchmarks_pb2_grpc.BenchmarkServiceAsyncStub = (
            benchmarks_pb2_grpc.BenchmarkServiceStub(channel)
        )
        self._storage: storage_pb2_grpc.StorageServiceAsyncStub = (
            storage_pb2_grpc.StorageServiceStub(channel)
        )

    async def get_model_version(self, name: str) -> models_pb2.ModelVersion:
        """A version; "models/M/versions/latest" is the newest one."""
        request = models_pb2.GetModelVersionRequest(name=name)
        return (await self._wire.unary(self._models.GetModelVersion, request)).model_version

    async def list_model_versions(
        self, model: str = "", *, limit: int | None = None
    ) -> list[models_pb2.ModelVersion]:
        """Versions of a model, or of all models, newest first."""

        async def page(size: int, token: str) -> Page[models_pb2.ModelVersion]:
            request = models_pb2.ListModelVersionsRequest(
                model=model, page_size=size, page_token=token
            )
            answer = await self._wire.unary(self._models.ListModelVersions, request)
            return answer.model_versions, answer.next_page_token

        return await collect(page, limit)

    async def delete_model_version(self, name: str) -> None:
        """Forgets a version."""
        request = models_pb2.DeleteModelVersionRequest(name=name)
        gone = models_pb2.DeleteModelVersionResponse()
        await self._wire.unary(self._models.DeleteModelVersion, request, gone=gone)

    async def get_dataset(self, name: str) -> datasets_pb2.Dataset:
        """A dataset."""
        request = datasets_pb2.GetDatasetRequest(name=name)
        return (await self._wire.unary(self._datasets.GetDataset, request)).dataset

    async def list_datasets(self, *, limit: int | None = None) -> list[datasets_pb2.Dataset]:
        """Datasets, newest first."""

        async def page(size: int, token: str) -> Page[datasets_pb2.Dataset]:
            request = datasets_pb2.ListDatasetsRequest(page_size=size, page_token=token)
            answer = await self._wire.unary(self._datasets.ListDatasets, request)
            return answer.datasets, answer.next_page_token

        return await collect(page, limit)

    async def delete_dataset(self, name: str) -> None:
        """Forgets a dataset."""
        request = datasets_pb2.DeleteDatasetRequest(name=name)
        gone = datasets_pb2.DeleteDatasetResponse()
        await self._wire.unary(self._datasets.DeleteDataset, request, gone=gone)

    async def get_conversion(self, name: str) -> conversions_pb2.Conversion:
        """A conversion with its variants, steps and benchmarks."""
        request = conversions_pb2.GetConversionRequest(name=name)
        return (await self._wire.unary(self._conversions.GetConversion, request)).conversion

    async def list_conversions(
        self, *, limit: int | None = None
    ) -> list[conversions_pb2.Conversion]:
        """Conversions, newest first, without variants and steps."""

        async def page(size: int, token: str) -> Page[conversions_pb2.Conversion]:
            request = conversions_pb2.ListConversionsRequest(page_size=size, page_token=token)
            answer = await self._wire.unary(self._conversions.ListConversions, request)
            return answer.conversions, answer.next_page_token

        return await collect(page, limit)

    async def cancel_conversion(self, name: str) -> conversions_pb2.Conversion:
        """Cancels a conversion; without effect on one that has ended."""
        request = conversions_pb2.CancelConversionRequest(name=name)
        return (await self._wire.unary(self._conversions.CancelConversion, request)).conversion

    async def collect_garbage(
        self,
        *,
        older_than_s: float | None = None,
        cap_bytes: int | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> storage_pb2.Collected:
        """Removes what nobody needs, and tells what it was.

        Args:
            older_than_s: Results that were not used for so long go, too; None is at no age.
            cap_bytes: More of them go, least recently used first, until the rest takes no more.
            dry_run: Only tells what would go.
            progress: Told (removals done, removals to do).
        """
        request = storage_pb2.CollectGarbageRequest(cap_bytes=cap_bytes, dry_run=dry_run)
        if older_than_s is not None:
            request.older_than.FromNanoseconds(round(older_than_s * NS_PER_S))
        async for answer in self._wire.stream(self._storage.CollectGarbage, request):
            if answer.HasField("collected"):
                return answer.collected
            if progress is not None:
                progress(answer.progress.done, answer.progress.total)
        raise unreachable(self._wire.address, "The stream ended early.")

    async def check_blobs(self, *, progress: Progress | None = None) -> storage_pb2.CheckedBlobs:
        """Reads every blob of the server, and tells which can't be used.

        Args:
            progress: Told (bytes read, bytes in all).
        """
        request = storage_pb2.CheckBlobsRequest()
        async for answer in self._wire.stream(self._storage.CheckBlobs, request):
            if answer.HasField("checked"):
                return answer.checked
            if progress is not None:
                progress(answer.progress.done, answer.progress.total)
        raise unreachable(self._wire.address, "The stream ended early.")

    async def get_device(self, name: str) -> devices_pb2.Device:
        """A device."""
        request = devices_pb2.GetDeviceRequest(name=name)
        return (await self._wire.unary(self._devices.GetDevice, request)).device

    async def list_devices(self, *, limit: int | None = None) -> list[devices_pb2.Device]:
        """Devices by name."""

        async def page(size: int, token: str) -> Page[devices_pb2.Device]:
            request = devices_pb2.ListDevicesRequest(page_size=size, page_token=token)
            answer = await self._wire.unary(self._devices.ListDevices, request)
            return answer.devices, answer.next_page_token

        return await collect(page, limit)

    async def drain_device(self, name: str, reason: str = "") -> devices_pb2.Device:
        """Lets a device end what it holds and gives it nothing more."""
        request = devices_pb2.DrainDeviceRequest(name=name, reason=reason)
        return (await self._wire.unary(self._devices.DrainDevice, request)).device

    async def resume_device(self, name: str) -> devices_pb2.Device:
        """Lets a drained or quarantined device take work again."""
        request = devices_pb2.ResumeDeviceRequest(name=name)
        return (await self._wire.unary(self._devices.ResumeDevice, request)).device

    async def delete_device(self, name: str) -> None:
        """Forgets a device; its agent may register it again."""
        request = devices_pb2.DeleteDeviceRequest(name=name)
        gone = devices_pb2.DeleteDeviceResponse()
        await self._wire.unary(self._devices.DeleteDevice, request, gone=gone)

    async def create_benchmark(
        self,
        variant: str,
        device_selector: str,
        request: benchmarks_pb2.BenchmarkRequest | None = None,
        *,
        request_id: str = "",
    ) -> benchmarks_pb2.Benchmark:
        """Queues a benchmark of "conversions/C/variants/V".

        Args:
            request_id: A UUID; the same call with the same one gives the same benchmark.
        """
        call = benchmarks_pb2.CreateBenchmarkRequest(
            variant=variant,
            device_selector=device_selector,
            request=request,
            request_id=request_id or str(uuid.uuid4()),
        )
        return (await self._wire.unary(self._benchmarks.CreateBenchmark, call)).benchmark

    async def get_benchmark(self, name: str) -> benchmarks_pb2.Benchmark:
        """A benchmark."""
        request = benchmarks_pb2.GetBenchmarkRequest(name=name)
        return (await self._wire.unary(self._benchmarks.GetBenchmark, request)).benchmark

    async def list_benchmarks(
        self, conversion: str = "", *, limit: int | None = None
    ) -> list[benchmarks_pb2.Benchmark]:
        """Benchmarks of a conversion, or all, newest first."""

        async def page(size: int, token: str) -> Page[benchmarks_pb2.Benchmark]:
            request = benchmarks_pb2.ListBenchmarksRequest(
                conversion=conversion, page_size=size, page_token=token
            )
            answer = await self._wire.unary(self._benchmarks.ListBenchmarks, request)
            return answer.benchmarks, answer.next_page_token

        return await collect(page, limit)

    async def cancel_benchmark(self, name: str) -> benchmarks_pb2.Benchmark:
        """Cancels a benchmark; without effect on one that has ended."""
        request = benchmarks_pb2.CancelBenchmarkRequest(name=name)
        return (await self._wire.unary(self._benchmarks.CancelBenchmark, request)).benchmark

    async def get_benchmark_record(self, name: str) -> bytes:
        """The raw samples of a benchmark, JSON; its field "schema" is the version."""
        request = benchmarks_pb2.GetBenchmarkRecordRequest(name=name)
        return (await self._wire.unary(self._benchmarks.GetBenchmarkRecord, request)).record_json
