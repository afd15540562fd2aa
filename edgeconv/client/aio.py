"""The client for asyncio."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Self

from edgeconv.client.catalog_calls import CatalogCalls
from edgeconv.client.discovery import check_address
from edgeconv.client.patience import Patience
from edgeconv.client.transfer import FileTransfer, Progress
from edgeconv.client.watching import Activity, last_answer, watch_conversion
from edgeconv.client.wire import TRANSFER_DEADLINE_S, Wire
from edgeconv.results.status import from_status
from edgeconv.v1 import (
    benchmarks_pb2,
    conversions_pb2,
    datasets_pb2,
    files_pb2,
    models_pb2,
)

_CONNECT_S = 10.0
_LAST_STATES = (models_pb2.INSPECTION_STATE_READY, models_pb2.INSPECTION_STATE_REJECTED)


class AsyncClient(CatalogCalls):
    """Calls to one edgeconv server.

        async with await AsyncClient.connect("127.0.0.1:7400", token) as client:
            version = await client.create_model_version("models/net", [Path("net.onnx")])
            version = await client.wait_model_version(version.name)

    Every method raises `EdgeconvError`: what the server refused, or SERVER_UNREACHABLE.
    Uploads, downloads and watches go on by themselves when the server comes back in time.
    A call for which the server has no room, or whose server has lost its database, is made
    again when it says so: five minutes, or one, or as its `Patience` says. `asyncio.timeout`
    ends that earlier, with TimeoutError; what was asked for may be done all the same.
    """

    def __init__(self, wire: Wire, *, patience: Patience | None = None) -> None:
        super().__init__(wire)
        self._patience = patience or Patience()
        self._transfer = FileTransfer(wire, patience=self._patience)

    @classmethod
    async def connect(
        cls,
        address: str,
        token: str = "",
        *,
        timeout_s: float = _CONNECT_S,
        patience: Patience | None = None,
    ) -> Self:
        """A client whose connection stands.

        Args:
            address: "host:port", or "unix:PATH".
            token: The bearer token; empty sends none.
            timeout_s: How long the server may take to answer, in seconds.
            patience: How long a server is tried again that was lost, or has no room for a call.

        Raises:
            EdgeconvError: FIELD_INVALID for what is no address; SERVER_UNREACHABLE.
        """
        check_address(address)
        patience = patience or Patience()
        wire = Wire(address, token, patience)
        try:
            await wire.wait_ready(timeout_s)
        except BaseException:
            await wire.close()
            raise
        return cls(wire, patience=patience)

    @property
    def address(self) -> str:
        """The server's address."""
        return self._wire.address

    async def close(self) -> None:
        """Closes the connection; open calls end."""
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def upload(
        self, paths: Sequence[Path], progress: Progress | None = None
    ) -> list[files_pb2.File]:
        """Sends what the server does not have of these files; resumable.

        Args:
            progress: Told (bytes done, bytes in all).

        Raises:
            EdgeconvError: FIELD_INVALID for a path that is no file.
        """
        return await self._transfer.upload(paths, progress)

    async def download(
        self,
        resource: str,
        file: files_pb2.File,
        destination: Path,
        progress: Progress | None = None,
    ) -> Path:
        """Reads a file of a resource to `destination`, which appears whole or not at all.

        Args:
            resource: "models/M/versions/N", "datasets/D" or "conversions/C/variants/V".
            progress: Told (bytes done, bytes in all).

        Raises:
            EdgeconvError: DIGEST_MISMATCH when the bytes are not those that were named.
        """
        return await self._transfer.download(resource, file, destination, progress)

    async def create_model_version(
        self,
        model: str,
        paths: Sequence[Path],
        *,
        progress: Progress | None = None,
        request_id: str = "",
    ) -> models_pb2.ModelVersion:
        """Uploads files and adds them as a version of a model; INSPECTING at first.

        Args:
            model: "models/{model}".
            paths: All files of the model: "net.onnx" and "net.onnx.data".
            request_id: A UUID; the same call with the same one gives the same version.
        """
        request = models_pb2.CreateModelVersionRequest(
            model=model,
            files=await self.upload(paths, progress),
            request_id=request_id or str(uuid.uuid4()),
        )
        # The server digests what was sent.
        call = self._wire.unary(
            self._models.CreateModelVersion, request, deadline_s=TRANSFER_DEADLINE_S
        )
        return (await call).model_version

    async def wait_model_version(
        self, name: str, *, activity: Activity | None = None
    ) -> models_pb2.ModelVersion:
        """Waits until the version was read.

        Args:
            activity: Told what is being done, in words, whenever that changes.

        Raises:
            EdgeconvError: why the version was REJECTED.
        """
        request = models_pb2.WatchModelVersionRequest(name=name)
        answer = await last_answer(
            self._wire,
            lambda: self._wire.stream(
                self._models.WatchModelVersion, request, taken=self._patience.tell_back
            ),
            lambda answer: answer.model_version.state in _LAST_STATES,
            self._patience,
            activity,
        )
        if answer.model_version.state == models_pb2.INSPECTION_STATE_REJECTED:
            raise from_status(answer.model_version.error)
        return answer.model_version

    async def create_dataset(
        self,
        name: str,
        path: Path,
        model_version: str = "",
        *,
        progress: Progress | None = None,
        request_id: str = "",
    ) -> datasets_pb2.Dataset:
        """Uploads an npz file as a dataset; INSPECTING at first.

        Args:
            name: "datasets/{dataset}".
            model_version: What to check names, dtypes and shapes against; may be empty.
            request_id: A UUID; the same call with the same one gives the same dataset.
        """
        request = datasets_pb2.CreateDatasetRequest(
            name=name,
            files=await self.upload([path], progress),
            model_version=model_version,
            request_id=request_id or str(uuid.uuid4()),
        )
        call = self._wire.unary(
            self._datasets.CreateDataset, request, deadline_s=TRANSFER_DEADLINE_S
        )
        return (await call).dataset

    async def wait_dataset(
        self, name: str, *, activity: Activity | None = None
    ) -> datasets_pb2.Dataset:
        """Waits until the dataset was read.

        Args:
            activity: Told what is being done, in words, whenever that changes.

        Raises:
            EdgeconvError: why the dataset was REJECTED.
        """
        request = datasets_pb2.WatchDatasetRequest(name=name)
        answer = await last_answer(
            self._wire,
            lambda: self._wire.stream(self._datasets.WatchDataset, request),
            lambda answer: answer.dataset.state in _LAST_STATES,
            self._patience,
            activity,
        )
        if answer.dataset.state == models_pb2.INSPECTION_STATE_REJECTED:
            raise from_status(answer.dataset.error)
        return answer.dataset

    async def create_conversion(
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
        """Starts a conversion.

        Args:
            recipe: YAML; empty is the default recipe.
            datasets: "calibration" and "evaluation" to "datasets/{dataset}".
            shapes: Input name to its whole shape, "1,3,224,224", for dynamic axes.
            device_selector: "none", "any", a device's name or a selector.
            request_id: A UUID; the same call with the same one gives the same conversion.

        Raises:
            EdgeconvError: RECIPE_INVALID, NOT_READY and all that is seen at the call.
        """
        request = conversions_pb2.CreateConversionRequest(
            model_version=model_version,
            recipe=recipe,
            datasets=dict(datasets or {}),
            shapes=dict(shapes or {}),
            device_selector=device_selector,
            benchmark=benchmark,
            request_id=request_id or str(uuid.uuid4()),
        )
        return (await self._wire.unary(self._conversions.CreateConversion, request)).conversion

    async def watch_conversion(
        self, name: str, after_sequence: int = 0
    ) -> AsyncGenerator[conversions_pb2.ConversionEvent, None]:
        """Events after a sequence until the conversion has ended.

        Durable events come once each and in order, over reconnects too; progress
        (sequence 0) comes as it happens. Close the iterator to stop early.
        """
        events = watch_conversion(self._wire, name, after_sequence, self._patience)
        async with aclosing(events) as stream:
            async for event in stream:
                yield event
