"""DatasetService: data for calibration and evaluation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import parse_name
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.jobs.runner import inspection_of
from edgeconv.server.records import DatasetRecord
from edgeconv.server.rpc import messages
from edgeconv.server.rpc.bundles import accept_files
from edgeconv.server.rpc.fields import fill_page, page_size, page_start, refuse, request_of
from edgeconv.server.rpc.inspections import watch_inspection
from edgeconv.server.rpc.models import read_model_version
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.server.store.store import Store
from edgeconv.v1 import datasets_pb2, datasets_pb2_grpc


async def read_dataset(store: Store, name: str, *, field: str) -> DatasetRecord:
    """The dataset of that name.

    Raises:
        EdgeconvError: FIELD_INVALID, NOT_FOUND.
    """
    (dataset,) = parse_name(name, "datasets/*", field=field)
    found = await store.datasets.get(dataset)
    if found is None:
        raise EdgeconvError(Reason.NOT_FOUND, f"There is no {name!r}.", name=name)
    return found


class DatasetService(datasets_pb2_grpc.DatasetServiceServicer):
    """As the wire says."""

    def __init__(self, tools: ServiceTools) -> None:
        self._tools = tools

    async def CreateDataset(
        self, request: datasets_pb2.CreateDatasetRequest, context: Any
    ) -> datasets_pb2.CreateDatasetResponse:
        """Makes a dataset and starts its inspection."""
        (dataset,) = parse_name(request.name, "datasets/*", field="name")
        call = request_of(request, request.request_id)
        store = self._tools.store
        if len(request.files) != 1 or not request.files[0].name.endswith(".npz"):
            raise refuse("files", "a dataset is exactly one .npz file")
        model_version = ""
        if request.model_version:
            model = await read_model_version(store, request.model_version, field="model_version")
            if model.state == "rejected":
                raise not_ready(model.name, model.state, "model_version")
            model_version = model.name
        files = await accept_files(store, self._tools.blobs, request.files)
        record, _ = await store.datasets.create(
            dataset, files, model_version, call, self._tools.gates.datasets
        )
        reached(CrashPoint.DATASET_CREATED)
        # Not only when it is new: the same call may have been broken off before the start.
        if record.state == "inspecting":
            await self._tools.engine.start(inspection_of(record.name))
        return datasets_pb2.CreateDatasetResponse(dataset=messages.dataset(record))

    async def GetDataset(
        self, request: datasets_pb2.GetDatasetRequest, context: Any
    ) -> datasets_pb2.GetDatasetResponse:
        """Reads one dataset."""
        record = await read_dataset(self._tools.store, request.name, field="name")
        return datasets_pb2.GetDatasetResponse(dataset=messages.dataset(record))

    async def ListDatasets(
        self, request: datasets_pb2.ListDatasetsRequest, context: Any
    ) -> datasets_pb2.ListDatasetsResponse:
        """Lists datasets, newest first."""
        limit = page_size(request.page_size)
        found = await self._tools.store.datasets.page(
            before_seq=page_start(request.page_token), limit=limit + 1
        )
        page, following = fill_page(found, limit, messages.dataset)
        return datasets_pb2.ListDatasetsResponse(datasets=page, next_page_token=following)

    async def WatchDataset(
        self, request: datasets_pb2.WatchDatasetRequest, context: Any
    ) -> AsyncIterator[datasets_pb2.WatchDatasetResponse]:
        """Sends the dataset until its inspection has ended."""
        record = await read_dataset(self._tools.store, request.name, field="name")
        name, store = record.name, self._tools.store

        async def read() -> DatasetRecord:
            return await read_dataset(store, name, field="name")

        async for now, activity in watch_inspection(self._tools, name, read, context):
            yield datasets_pb2.WatchDatasetResponse(
                dataset=messages.dataset(now), activity=activity
            )

    async def DeleteDataset(
        self, request: datasets_pb2.DeleteDatasetRequest, context: Any
    ) -> datasets_pb2.DeleteDatasetResponse:
        """Forgets a dataset."""
        record = await read_dataset(self._tools.store, request.name, field="name")
        # First, or it would hit the inspection of a new dataset that got the free name.
        await self._tools.engine.cancel(inspection_of(record.name))
        await self._tools.store.datasets.delete(record.dataset)
        return datasets_pb2.DeleteDatasetResponse()


def not_ready(name: str, state: str, field: str) -> EdgeconvError:
    """NOT_READY for a resource in another state."""
    return EdgeconvError(
        Reason.NOT_READY,
        f"{field}: {name!r} is {state.upper()}, not READY.",
        fix="Its error says what is wrong with it."
        if state == "rejected"
        else "Watch it until its inspection has ended.",
        name=name,
        state=state,
    )
