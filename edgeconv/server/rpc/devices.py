"""DeviceService: devices that agents have registered."""

from __future__ import annotations

from typing import Any

from edgeconv.base.errors import EdgeconvError, Reason
from edgeconv.base.ids import parse_name
from edgeconv.server.records import DeviceRecord
from edgeconv.server.rpc import messages
from edgeconv.server.rpc.fields import page_size
from edgeconv.server.rpc.service_tools import ServiceTools
from edgeconv.v1 import devices_pb2, devices_pb2_grpc


class DeviceService(devices_pb2_grpc.DeviceServiceServicer):
    """As the wire says."""

    def __init__(self, tools: ServiceTools) -> None:
        self._fleet = tools.store.fleet

    async def GetDevice(
        self, request: devices_pb2.GetDeviceRequest, context: Any
    ) -> devices_pb2.GetDeviceResponse:
        """Reads one device."""
        (device,) = parse_name(request.name, "devices/*")
        found = _found(await self._fleet.device(device), request.name)
        return devices_pb2.GetDeviceResponse(device=messages.device(found))

    async def ListDevices(
        self, request: devices_pb2.ListDevicesRequest, context: Any
    ) -> devices_pb2.ListDevicesResponse:
        """Lists devices by name."""
        limit = page_size(request.page_size)
        found = await self._fleet.device_page(after=request.page_token, limit=limit + 1)
        more = len(found) > limit
        return devices_pb2.ListDevicesResponse(
            devices=[messages.device(record) for record in found[:limit]],
            next_page_token=found[limit - 1].device if more else "",
        )

    async def DrainDevice(
        self, request: devices_pb2.DrainDeviceRequest, context: Any
    ) -> devices_pb2.DrainDeviceResponse:
        """Gives a device nothing more."""
        (device,) = parse_name(request.name, "devices/*")
        found = _found(await self._fleet.drain(device, request.reason), request.name)
        return devices_pb2.DrainDeviceResponse(device=messages.device(found))

    async def ResumeDevice(
        self, request: devices_pb2.ResumeDeviceRequest, context: Any
    ) -> devices_pb2.ResumeDeviceResponse:
        """Lets a device take work again."""
        (device,) = parse_name(request.name, "devices/*")
        found = _found(await self._fleet.resume(device), request.name)
        return devices_pb2.ResumeDeviceResponse(device=messages.device(found))

    async def DeleteDevice(
        self, request: devices_pb2.DeleteDeviceRequest, context: Any
    ) -> devices_pb2.DeleteDeviceResponse:
        """Forgets a device."""
        (device,) = parse_name(request.name, "devices/*")
        if not await self._fleet.forget(device):
            _found(None, request.name)
        return devices_pb2.DeleteDeviceResponse()


def _found(record: DeviceRecord | None, name: str) -> DeviceRecord:
    if record is None:
        raise EdgeconvError(Reason.NOT_FOUND, f"There is no {name!r}.", name=name)
    return record
