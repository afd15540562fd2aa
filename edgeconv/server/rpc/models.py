"""ModelService: models and their versions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from edgeconv.base.ids import parse_name
from edgeconv.server.crash_points import CrashPoint, reached
from edgeconv.server.jobs.runner import inspection_of
from edgeconv.server.records import ModelVersionRecord
from edgeconv.server.rpc import messages
from edgeconv.server.rpc.bundles import accept_files
from edgeconv.server.rpc.fields import (
    fill_page,
    not_found,
    page_size,
    page_start,
    refuse,
    request_of,
)
from edgeconv.server.rpc.inspections import watch_inspection
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.server.store.store import Store
from edgeconv.v1 import models_pb2, models_pb2_grpc


def version_number(digits: str) -> int:
    """The number of a version; one beyond all that are given names none, and fits a column."""
    return min(int(digits[:18]), 2**53)


async def read_model_version(store: Store, name: str, *, field: str) -> ModelVersionRecord:
    """The version of that name; "latest" is the newest one.

    Raises:
        EdgeconvError: FIELD_INVALID, NOT_FOUND.
    """
    model, version = parse_name(name, "models/*/versions/*", field=field)
    if version != "latest" and not (version.isascii() and version.isdigit()):
        raise refuse(field, f'{version!r} is neither a number nor "latest"')
    number = None if version == "latest" else version_number(version)
    found = await store.models.get(model, number)
    if found is None:
        raise not_found(f"models/{model}" if number is None else name)
    return found


class ModelService(models_pb2_grpc.ModelServiceServicer):
    """As the wire says."""

    def __init__(self, tools: ServiceTools) -> None:
        self._tools = tools

    async def CreateModelVersion(
        self, request: models_pb2.CreateModelVersionRequest, context: Any
    ) -> models_pb2.CreateModelVersionResponse:
        """Adds a version and starts its inspection."""
        (model,) = parse_name(request.model, "models/*", field="model")
        call = request_of(request, request.request_id)
        files = await accept_files(self._tools.store, self._tools.blobs, request.files)
        record, _ = await self._tools.store.models.create(
            model, files, call, self._tools.gates.models
        )
        reached(CrashPoint.MODEL_CREATED)
        # Not only when it is new: the same call may have been broken off before the start.
        if record.state == "inspecting":
            await self._tools.engine.start(inspection_of(record.name))
        return models_pb2.CreateModelVersionResponse(model_version=messages.model_version(record))

    async def GetModelVersion(
        self, request: models_pb2.GetModelVersionRequest, context: Any
    ) -> models_pb2.GetModelVersionResponse:
        """Reads one version."""
        record = await read_model_version(self._tools.store, request.name, field="name")
        return models_pb2.GetModelVersionResponse(model_version=messages.model_version(record))

    async def ListModelVersions(
        self, request: models_pb2.ListModelVersionsRequest, context: Any
    ) -> models_pb2.ListModelVersionsResponse:
        """Lists versions, newest first."""
        (model,) = parse_name(request.model, "models/*", field="model") if request.model else ("",)
        limit = page_size(request.page_size)
        found = await self._tools.store.models.page(
            model, before_seq=page_start(request.page_token), limit=limit + 1
        )
        if model and not found and not await self._tools.store.models.was_made(model):
            raise not_found(request.model)
        page, following = fill_page(found, limit, messages.model_version)
        return models_pb2.ListModelVersionsResponse(model_versions=page, next_page_token=following)

    async def WatchModelVersion(
        self, request: models_pb2.WatchModelVersionRequest, context: Any
    ) -> AsyncIterator[models_pb2.WatchModelVersionResponse]:
        """Sends the version until its inspection has ended."""
        record = await read_model_version(self._tools.store, request.name, field="name")
        name, store = record.name, self._tools.store

        async def read() -> ModelVersionRecord:
            return await read_model_version(store, name, field="name")

        async for now, activity in watch_inspection(self._tools, name, read, context):
            yield models_pb2.WatchModelVersionResponse(
                model_version=messages.model_version(now), activity=activity
            )

    async def DeleteModelVersion(
        self, request: models_pb2.DeleteModelVersionRequest, context: Any
    ) -> models_pb2.DeleteModelVersionResponse:
        """Forgets a version; by its number, for a call that is made again means another latest."""
        if request.name.endswith("/latest"):
            raise refuse("name", 'is "latest"; name the version by its number')
        record = await read_model_version(self._tools.store, request.name, field="name")
        await self._tools.store.models.delete(record.model, record.version)
        await self._tools.engine.cancel(inspection_of(record.name))
        return models_pb2.DeleteModelVersionResponse()
