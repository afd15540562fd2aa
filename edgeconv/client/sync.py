"""The blocking client: the calls of `AsyncClient`, on an event loop in a thread."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from edgeconv.client.aio import AsyncClient
from edgeconv.client.loop_thread import LoopThread
from edgeconv.client.patience import Patience
from edgeconv.client.transfer import Progress
from edgeconv.client.watching import Activity
from edgeconv.v1 import (
    benchmarks_pb2,
    conversions_pb2,
    datasets_pb2,
    devices_pb2,
    files_pb2,
    models_pb2,
    storage_pb2,
)

Result = TypeVar("Result")


class Client:
    """Calls to one edgeconv server, blocking; safe to use from several threads.

        with Client.connect("127.0.0.1:7400", token) as client:
            for event in client.watch_conversion("conversions/abc"):
                print(event)

    Arguments, results and errors are those of `AsyncClient`. A progress callback runs on
    the client's own thread. An interrupted call (Ctrl-C) is cancelled.
    """

    def __init__(self, thread: LoopThread, client: AsyncClient) -> None:
        self._thread = thread
        self.aio = client

    @classmethod
    def connect(
        cls,
        address: str,
        token: str = "",
        *,
        timeout_s: float = 10.0,
        patience: Patience | None = None,
    ) -> Self:
        """A client whose connection stands; see `AsyncClient.connect`.

        Raises:
            EdgeconvError: SERVER_UNREACHABLE.
        """
        thread = LoopThread()
        try:
            connecting = AsyncClient.connect(address, token, timeout_s=timeout_s, patience=patience)
            return cls(thread, thread.run(connecting))
        except BaseException:
            thread.stop()
            raise

    @property
    def address(self) -> str:
        """The server's address."""
        return self.aio.address

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        """Runs a coroutine of `self.aio` to its end."""
        return self._thread.run(call)

    def close(self) -> None:
        """Closes the connection and ends the thread; without effect when it is closed."""
        if not self._thread.closed:
            self.run(self.aio.close())
            self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def upload(
        self, paths: Sequence[Path], progress: Progress | None = None
    ) -> list[files_pb2.File]:
        """Sends what the server does not have of these files; resumable."""
        return self.run(self.aio.upload(paths, progress))

    def download(
        self,
        resource: str,
        file: files_pb2.File,
        destination: Path,
        progress: Progress | None = None,
    ) -> Path:
        """Reads a file to `destination`, which appears whole or not at all."""
        return self.run(self.aio.download(resource, file, destination, progress))

    def create_model_version(
        self,
        model: str,
        paths: Sequence[Path],
        *,
        progress: Progress | None = None,
        request_id: str = "",
    ) -> models_pb2.ModelVersion:
        """Uploads files and adds them as a version of a model; INSPECTING at first."""
        call = self.aio.create_model_version(model, paths, progress=progress, request_id=request_id)
        return self.run(call)

    def wait_model_version(
        self, name: str, *, activity: Activity | None = None
    ) -> models_pb2.ModelVersion:
        """Waits until the version was read; raises why it was REJECTED."""
        return self.run(self.aio.wait_model_version(name, activity=activity))

    def get_model_version(self, name: str) -> models_pb2.ModelVersion:
        """A version; "models/M/versions/latest" is the newest one."""
        return self.run(self.aio.get_model_version(name))

    def list_model_versions(
        self, model: str = "", *, limit: int | None = None
    ) -> list[models_pb2.ModelVersion]:
        """Versions of a model, or of all models, newest first."""
        return self.run(self.aio.list_model_versions(model, limit=limit))

    def delete_model_version(self, name: str) -> None:
        """Forgets a version."""
        self.run(self.aio.delete_model_version(name))

    def create_dataset(
        self,
        name: str,
        path: Path,
        model_version: str = "",
        *,
        progress: Progress | None = None,
        request_id: str = "",
    ) -> datasets_pb2.Dataset:
        """Uploads an npz file as a dataset; INSPECTING at first."""
        call = self.aio.create_dataset(
            name, path, model_version, progress=progress, request_id=request_id
        )
        return self.run(call)

    def wait_dataset(self, name: str, *, activity: Activity | None = None) -> datasets_pb2.Dataset:
        """Waits until the dataset was read; raises why it was REJECTED."""
        return self.run(self.aio.wait_dataset(name, activity=activity))

    def get_dataset(self, name: str) -> datasets_pb2.Dataset:
        """A dataset."""
        return self.run(self.aio.get_dataset(name))

    def list_datasets(self, *, limit: int | None = None) -> list[datasets_pb2.Dataset]:
        """Datasets, newest first."""
        return self.run(self.aio.list_datasets(limit=limit))

    def delete_dataset(self, name: str) -> None:
        """Forgets a dataset."""
        self.run(self.aio.delete_dataset(name))

    def create_conversion(
        self,
        model_version: str,
        *,
        recipe: str = "",
        datasets: Mapping[str, str] | None = None,
        shapes: Mapping[str, str] | None = None,
        device_selector: str = "",
        benchmark: benchmarks_pb2.BenchmarkRequest | None = None,
        request_id: str = "",
    ) -> conversions_pb2.Conversion:
        """Starts a conversion; see `AsyncClient.create_conversion`."""
        call = self.aio.create_conversion(
            model_version,
            recipe=recipe,
            datasets=datasets,
            shapes=shapes,
            device_selector=device_selector,
            benchmark=benchmark,
            request_id=request_id,
        )
        return self.run(call)

    def watch_conversion(
        self, name: str, after_sequence: int = 0
    ) -> Iterator[conversions_pb2.ConversionEvent]:
        """Events after a sequence until the conversion has ended, each durable one once."""
        events = self.aio.watch_conversion(name, after_sequence)
        try:
            while (event := self.run(_next(events))) is not None:
                yield event
        finally:
            if not self._thread.closed:
                self.run(_end(events))

    def get_conversion(self, name: str) -> conversions_pb2.Conversion:
        """A conversion with its variants, steps and benchmarks."""
        return self.run(self.aio.get_conversion(name))

    def list_conversions(self, *, limit: int | None = None) -> list[conversions_pb2.Conversion]:
        """Conversions, newest first, without variants and steps."""
        return self.run(self.aio.list_conversions(limit=limit))

    def cancel_conversion(self, name: str) -> conversions_pb2.Conversion:
        """Cancels a conversion; without effect on one that has ended."""
        return self.run(self.aio.cancel_conversion(name))

    def collect_garbage(
        self,
        *,
        older_than_s: float | None = None,
        cap_bytes: int | None = None,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> storage_pb2.Collected:
        """See `AsyncClient.collect_garbage`."""
        return self.run(
            self.aio.collect_garbage(
                older_than_s=older_than_s, cap_bytes=cap_bytes, dry_run=dry_run, progress=progress
            )
        )

    def check_blobs(self, *, progress: Progress | None = None) -> storage_pb2.CheckedBlobs:
        """See `AsyncClient.check_blobs`."""
        return self.run(self.aio.check_blobs(progress=progress))

    def get_device(self, name: str) -> devices_pb2.Device:
        """A device."""
        return self.run(self.aio.get_device(name))

    def list_devices(self, *, limit: int | None = None) -> list[devices_pb2.Device]:
        """Devices by name."""
        return self.run(self.aio.list_devices(limit=limit))

    def drain_device(self, name: str, reason: str = "") -> devices_pb2.Device:
        """Lets a device end what it holds and gives it nothing more."""
        return self.run(self.aio.drain_device(name, reason))

    def resume_device(self, name: str) -> devices_pb2.Device:
        """Lets a drained or quarantined device take work again."""
        return self.run(self.aio.resume_device(name))

    def delete_device(self, name: str) -> None:
        """Forgets a device; its agent may register it again."""
        self.run(self.aio.delete_device(name))

    def create_benchmark(
        self,
        variant: str,
        device_selector: str,
        request: benchmarks_pb2.BenchmarkRequest | None = None,
        *,
        request_id: str = "",
    ) -> benchmarks_pb2.Benchmark:
        """Queues a benchmark of "conversions/C/variants/V"."""
        call = self.aio.create_benchmark(variant, device_selector, request, request_id=request_id)
        return self.run(call)

    def get_benchmark(self, name: str) -> benchmarks_pb2.Benchmark:
        """A benchmark."""
        return self.run(self.aio.get_benchmark(name))

    def list_benchmarks(
        self, conversion: str = "", *, limit: int | None = None
    ) -> list[benchmarks_pb2.Benchmark]:
        """Benchmarks of a conversion, or all, newest first."""
        return self.run(self.aio.list_benchmarks(conversion, limit=limit))

    def cancel_benchmark(self, name: str) -> benchmarks_pb2.Benchmark:
        """Cancels a benchmark; without effect on one that has ended."""
        return self.run(self.aio.cancel_benchmark(name))

    def get_benchmark_record(self, name: str) -> bytes:
        """The raw samples of a benchmark, JSON; its field "schema" is the version."""
        return self.run(self.aio.get_benchmark_record(name))


async def _next(events: AsyncGenerator[Result, None]) -> Result | None:
    return await anext(events, None)


async def _end(events: AsyncGenerator[Any, None]) -> None:
    await events.aclose()
